package rouse_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
	"github.com/rouse-es/rouse/parked"
)

var errRefused = errors.New("mail.example.com refuses")

// service is what a handler depends on.
type service struct {
	tell bool // the handler says that it is away, with Unavailable

	mu    sync.Mutex // protects the fields below
	away  bool
	bad   map[int64]bool // positions of events that it never takes
	calls int            // while it was away
}

func (s *service) call(ev eventstore.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.away && s.tell:
		s.calls++
		return rouse.Unavailable(errRefused)
	case s.away, s.bad[ev.GlobalPosition]:
		s.calls++
		return errRefused
	}
	return nil
}

func (s *service) set(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
}

func (s *service) called() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// startPausing runs a worker whose breakers pause for so long.
func (b *bundle) startPausing(pool *pgxpool.Pool, cfg rouse.Config, first, longest time.Duration) *running {
	b.t.Helper()
	w := workertest.New(b.t, pool, workertest.Logged(b.t, cfg))
	w.SetPauses(first, longest)
	return workertest.Run(b.t, w)
}

// waits waits until a worker says that p waits.
func (b *bundle) waits(w *running) {
	b.t.Helper()
	w.WaitState("p", rouse.StateWaiting)
}

// versions appends a version of each of n aggregates, beginning at a number.
func (b *bundle) versions(n, version int) {
	b.t.Helper()
	for a := range n {
		b.version(fmt.Sprint("a", a), version)
	}
}

// requireInOrder requires that p has handled the versions of n aggregates, each once and in order.
func (b *bundle) requireInOrder(n, versions int) {
	b.t.Helper()
	want := make([]int64, versions)
	for v := range want {
		want[v] = int64(v + 1)
	}
	for a := range n {
		require.Equal(b.t, want, b.versionsOf("p", fmt.Sprint("a", a)), "aggregate a%d", a)
	}
}

// requireNothingCounted requires that nothing is parked or set aside and no try is counted.
func (b *bundle) requireNothingCounted() {
	b.t.Helper()
	require.Zero(b.t, b.int("select count(*) from parked_events"))
	require.Zero(b.t, b.int("select count(*) from event_attempts"))
}

// A service is away while events come. Nobody is parked; once it is back everything is done, in order, soon.
func TestServiceThatIsAwayParksNobody(t *testing.T) {
	t.Parallel()
	for _, tell := range []bool{true, false} {
		for _, form := range handlerForms {
			t.Run(fmt.Sprintf("%s/Told=%t", form, tell), func(t *testing.T) {
				t.Parallel()
				const aggregates, rounds = 12, 10
				b := setup(t)
				s := &service{tell: tell}
				w := b.startPausing(b.Pool, b.forms(s.call)[form], 50*time.Millisecond, 100*time.Millisecond).WaitStarted()
				b.versions(aggregates, 1)
				b.caughtUp("p")
				s.set(true)
				for v := 2; v <= rounds; v++ {
					b.versions(aggregates, v)
				}
				b.waits(w)
				require.Contains(t, b.troubled("p", "waiting for mail.example.com refuses").State, "waiting")
				testdb.Eventually(t, patience, "some trials", func() (bool, error) { return s.called() > 20, nil })
				b.waits(w)
				waiting := w.Status().Waiting["p"]
				require.Equal(t, errRefused.Error(), waiting.For)
				require.WithinDuration(t, time.Now(), waiting.Since, patience)
				require.Positive(t, waiting.Trials)
				require.True(t, w.Health(b.ctx).Alive())
				require.True(t, w.Health(b.ctx).Ready(), "a worker that has caught up once stays ready: %v", w.Health(b.ctx).Waits)
				require.Zero(t, b.int(`select count(*) from (select distinct on (aggregate_type, aggregate_id) due_at from parked_events
					order by aggregate_type, aggregate_id, global_position) first where due_at is null`), "nobody waits for people")
				require.Less(t, b.int("select coalesce(max(attempts), 0) from parked_events"), int64(5), "what was tried before it opened")
				if tell {
					b.requireNothingCounted()
				}
				s.set(false)
				back := time.Now()
				testdb.Eventually(t, patience, "everything to be done", func() (bool, error) {
					return b.int("select count(*) from done") == aggregates*rounds, nil
				})
				t.Logf("done %v after the return", time.Since(back))
				b.requireInOrder(aggregates, rounds)
				testdb.Eventually(t, patience, "nothing to wait", func() (bool, error) { return b.int("select count(*) from parked_events") == 0, nil })
				b.caughtUp("p")
				b.requireNothingCounted()
				w.WaitState("p", rouse.StateLive)
				require.Empty(t, w.Status().Waiting)
				b.untroubled("p")
				require.NoError(t, w.Stop())
			})
		}
	}
}

// The pauses grow, so a service that is away is not called all the time.
func TestServiceThatIsAwayIsCalledNowAndThen(t *testing.T) {
	eachForm(t, func(t *testing.T, form string) {
		b := setup(t)
		s := &service{tell: true, away: true}
		w := b.startPausing(b.Pool, b.forms(s.call)[form], time.Hour, time.Hour).WaitStarted()
		b.versions(8, 1)
		b.waits(w)
		before := s.called()
		require.Less(t, before, 20)
		b.versions(8, 2)
		other := b.start(b.Pool, rouse.Config{Projections: []rouse.Projection{projection{name: "other"}}}) // which shows that they can be read
		b.caughtUp("other")
		require.NoError(t, other.Stop())
		require.Equal(t, before, s.called())
		b.requireNothingCounted()
		require.NoError(t, w.Stop())
	})
}

// What comes before the event that cannot be handled is done and saved; what comes behind it waits, also that of others.
func TestAllWaitForAnEventThatIsUnavailable(t *testing.T) {
	eachForm(t, func(t *testing.T, form string) {
		b := setup(t)
		var mu sync.Mutex
		away := true
		at := b.appendAll("good", "good", "good", "unlucky", "good", "good", "good")
		w := b.startPausing(b.Pool, b.forms(func(ev eventstore.Event) error {
			mu.Lock()
			defer mu.Unlock()
			if away && ev.Type == "unlucky" {
				return rouse.Unavailable(errRefused)
			}
			return nil
		})[form], 50*time.Millisecond, 50*time.Millisecond).WaitStarted()
		b.waits(w)
		testdb.Eventually(t, patience, "what comes before to be saved", func() (bool, error) {
			return b.int("select count(*) from projection_checkpoints where projection_name = 'p' and last_global_position = any ($1)", at[:3]) > 0, nil
		})
		require.Equal(t, at[:3], b.done("p"))
		b.requireNothingCounted()
		mu.Lock()
		away = false
		mu.Unlock()
		require.NoError(t, w.Drain(b.ctx))
		require.Equal(t, at, b.done("p"))
		b.requireNothingCounted()
		require.NoError(t, w.Stop())
	})
}

// Twenty bad events in a row are no outage: the breaker opens, steps over them one by one, and comes to the good ones.
func TestRunOfBadEventsDoesNotStandForEver(t *testing.T) {
	eachForm(t, func(t *testing.T, form string) {
		b := setup(t)
		types := make([]string, 30)
		for i := range types {
			types[i] = "e"
		}
		at := b.appendAll(types...)
		s := &service{bad: map[int64]bool{}}
		for _, position := range at[:20] {
			s.bad[position] = true
		}
		w := b.startPausing(b.Pool, b.forms(s.call)[form], 10*time.Millisecond, 20*time.Millisecond).WaitStarted()
		testdb.Eventually(t, patience, "the good ones", func() (bool, error) { return len(b.done("p")) == 10, nil })
		require.Equal(t, at[20:], b.done("p"))
		good := 10
		testdb.Eventually(t, patience, "the bad ones to be found out", func() (bool, error) {
			b.append("e")
			good++
			return b.int("select count(*) from parked_events where attempts > 0") == 20, nil
		})
		require.NoError(t, w.Drain(b.ctx))
		require.Len(t, b.done("p"), good)
		testdb.Eventually(t, patience, "p to wait no more", func() (bool, error) { return w.Status().States["p"] == rouse.StateLive, nil })
		require.NoError(t, w.Stop())
	})
}

// A stop and a change of the membership are acted on at once, however long the pause is. Whoever takes the partitions finds out
// by itself.
func TestWaitingHoldsNeitherAStopNorTheSharesUp(t *testing.T) {
	eachForm(t, func(t *testing.T, form string) {
		b := setup(t)
		s := &service{tell: true, away: true}
		cfg := b.forms(s.call)[form]
		cfg.StopTimeout = time.Hour // nothing is given up: the pause ends
		b.versions(30, 1)
		first := b.startPausing(b.pool(pgx.QueryExecModeCacheStatement), cfg, time.Hour, time.Hour).WaitStarted()
		b.waits(first)
		second := b.startPausing(b.pool(pgx.QueryExecModeCacheStatement), cfg, time.Hour, time.Hour).WaitStarted()
		b.waits(second)
		require.EqualValues(t, 2, b.int("select count(distinct owner) from projection_checkpoints where projection_name = 'p' and owner is not null"))
		require.NoError(t, first.Stop())
		testdb.Eventually(t, patience, "the second to have all", func() (bool, error) {
			return b.int("select count(*) from projection_checkpoints where projection_name = 'p' and owner is not null") == 32, nil
		})
		require.NoError(t, second.Stop())
		require.Zero(t, b.int("select count(*) from projection_checkpoints where projection_name = 'p' and owner is not null"))
		b.requireNothingCounted()

		s.set(false)
		third := b.start(b.Pool, cfg).WaitStarted()
		require.NoError(t, third.Drain(b.ctx))
		b.requireInOrder(30, 1)
		require.NoError(t, third.Stop())
	})
}

// A worker that starts while the service is away is alive, not ready, and says for what it is waiting.
func TestWorkerThatStartsWhileAServiceIsAway(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.versions(3, 1)
	s := &service{tell: true, away: true}
	w := b.startPausing(b.Pool, b.forms(s.call)["Effect"], 10*time.Millisecond, 20*time.Millisecond).WaitStarted()
	b.waits(w)
	health := w.Health(b.ctx)
	require.True(t, health.Alive())
	require.Contains(t, health.Waits, "projection p has not caught up yet: it is waiting for mail.example.com refuses")
	s.set(false)
	require.NoError(t, w.Drain(b.ctx))
	testdb.Eventually(t, patience, "it to be ready", func() (bool, error) { return w.Health(b.ctx).Ready(), nil })
	require.NoError(t, w.Stop())
}

// Under Stop an event that is unavailable waits in its place, however few tries it has; what blames the event stops as ever.
func TestUnavailableStopsNothing(t *testing.T) {
	eachForm(t, func(t *testing.T, form string) {
		b := setup(t)
		b.versions(3, 1)
		s := &service{tell: true, away: true, bad: map[int64]bool{3: true}}
		cfg := b.forms(s.call)[form]
		cfg.OnFailure, cfg.Retry = rouse.Stop, rouse.RetryPolicy{Tries: -1}
		w := b.startPausing(b.Pool, cfg, 10*time.Millisecond, 20*time.Millisecond).WaitStarted()
		b.waits(w)
		testdb.Eventually(t, patience, "some trials", func() (bool, error) { return s.called() > 10, nil })
		b.waits(w)
		b.requireNothingCounted()
		s.set(false)
		var stopped *rouse.StoppedError
		require.ErrorAs(t, w.Wait(), &stopped)
		require.EqualValues(t, 3, stopped.Position)
		require.Len(t, b.done("p"), 2)
	})
}

// A parked event whose retry meets a service that is away is not counted, and the others wait until it is back.
func TestParkedEventThatIsUnavailableIsNotCounted(t *testing.T) {
	eachForm(t, func(t *testing.T, form string) {
		b := setup(t)
		var mu sync.Mutex
		cause := rouse.Permanent(errBroken)
		set := func(err error) {
			mu.Lock()
			defer mu.Unlock()
			cause = err
		}
		b.version("a", 1)
		b.version("a", 2)
		w := b.startPausing(b.Pool, b.forms(func(ev eventstore.Event) error {
			mu.Lock()
			defer mu.Unlock()
			if ev.AggregateID == "a" {
				return cause
			}
			return nil
		})[form], 10*time.Millisecond, 20*time.Millisecond).WaitStarted()
		b.caughtUp("p")
		set(rouse.Unavailable(errRefused))
		_, err := parked.Retry(b.ctx, b.Pool, parked.Filter{Projection: "p"})
		require.NoError(t, err)
		b.waits(w)
		testdb.Eventually(t, patience, "some trials", func() (bool, error) { return w.Status().Waiting["p"].Trials > 3, nil })
		b.version("b", 1)
		require.LessOrEqual(t, b.int("select max(attempts) from parked_events"), int64(2), "one at first, and one in hand")
		set(nil)
		require.NoError(t, w.Drain(b.ctx))
		testdb.Eventually(t, patience, "the queue to be done", func() (bool, error) { return b.int("select count(*) from parked_events") == 0, nil })
		require.Equal(t, []int64{1, 2}, b.versionsOf("p", "a"))
		require.NoError(t, w.Stop())
	})
}

// A service that is away for long and answers now and then costs no event its tries, and lanes of their own keep the order.
func TestServiceThatComesAndGoes(t *testing.T) {
	t.Parallel()
	for _, tell := range []bool{true, false} {
		for _, form := range handlerForms {
			t.Run(fmt.Sprintf("%s/Told=%t", form, tell), func(t *testing.T) {
				t.Parallel()
				const aggregates, rounds = 10, 12
				b := setup(t)
				s := &service{tell: tell}
				cfg := b.forms(s.call)[form]
				cfg.Concurrency = 3
				w := b.startPausing(b.Pool, cfg, 5*time.Millisecond, 20*time.Millisecond).WaitStarted()
				for v := 1; v <= rounds; v++ {
					s.set(v%2 == 0)
					b.versions(aggregates, v)
				}
				s.set(false)
				testdb.Eventually(t, patience, "everything to be done", func() (bool, error) {
					return b.int("select count(*) from done") == aggregates*rounds, nil
				})
				b.requireInOrder(aggregates, rounds)
				require.NoError(t, w.Stop())
				b.requireNothingCounted()
			})
		}
	}
}
