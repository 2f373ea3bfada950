package rouse_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/events"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/parked"
	projections "github.com/rouse-es/rouse/projection"
)

// These tests are of events that their handler wants no earlier than a time.

// blameless returns an observer and a function that requires that neither a failure nor a giving up was reported to it.
func blameless(t *testing.T) (rouse.Observer, func()) {
	t.Helper()
	var failed, gaveUp atomic.Int64
	return rouse.Observer{
			Failed: func(string, int, error) { failed.Add(1) },
			GaveUp: func(string, eventstore.Event, rouse.OnFailure, error) { gaveUp.Add(1) },
		}, func() {
			t.Helper()
			require.Zero(t, failed.Load(), "failures")
			require.Zero(t, gaveUp.Load(), "events given up")
		}
}

// clock is a time that a test moves on, for handlers that compare it with deadlines.
type clock struct {
	mu  sync.Mutex // protects now
	now time.Time
}

func (c *clock) time() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) set(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
}

// later are the deadlines of a test: an event of type "deadline" is wanted at due and no earlier.
type later struct {
	clock
	due   time.Time
	calls atomic.Int64
}

func (l *later) fail(ev eventstore.Event) error {
	if ev.Type != "deadline" {
		return nil
	}
	l.calls.Add(1)
	if l.time().Before(l.due) {
		return fmt.Errorf("the reminder waits: %w", rouse.NotBefore(l.due))
	}
	return nil
}

// deadlines appends events of aggregates d1 to dn of type deadline as the first of theirs, each with one of type good behind it, and as many
// of others around them.
func (b *bundle) deadlines(n int) {
	b.t.Helper()
	b.exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 'thing', kind || m, 1, case kind when 'd' then 'deadline' else 'good' end, '{}'
		from generate_series(1, $1::int) m, (values ('d'), ('g')) k (kind) order by m, kind`, n)
	b.exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 'thing', kind || m, 2, 'good', '{}' from generate_series(1, $1::int) m, (values ('d'), ('g')) k (kind) order by m, kind`, n)
}

// comesDue makes the deadlines of a test due, as if time had passed.
func (b *bundle) comesDue(l *later) {
	b.t.Helper()
	l.set(l.due)
	b.exec("update parked_events set due_at = clock_timestamp() where due_at is not null")
}

// Deadlines years ahead wait under every policy and in every form, and nothing fails, nothing stops, and nothing else waits; a second
// worker that takes over leaves them alone; and at their time they are handled, in the order of their aggregates.
func TestEventThatIsWantedLaterWaitsForItsTimeUnderEveryPolicy(t *testing.T) {
	for _, policy := range []rouse.OnFailure{rouse.Park, rouse.Skip, rouse.Stop} {
		t.Run(string(policy), func(t *testing.T) {
			eachForm(t, func(t *testing.T, form string) {
				b := setup(t)
				l := &later{due: time.Now().AddDate(7, 0, 0)}
				cfg := b.forms(l.fail)[form]
				cfg.OnFailure = policy
				var blame func()
				cfg.Observer, blame = blameless(t)
				b.deadlines(20)
				w := b.start(b.Pool, cfg).WaitStarted()
				b.caughtUp("p")
				waiting, parkedFor, behind := b.stands()
				require.EqualValues(t, []int64{20, 0, 20}, []int64{waiting, parkedFor, behind})
				require.EqualValues(t, 40, b.int("select count(*) from done"))
				require.Equal(t, rouse.StateLive, w.Status().States["p"])
				if form != "ByBatch" { // which does not say which event it is
					require.EqualValues(t, 20, l.calls.Load(), "each is asked for once")
				}
				w.MustStop()

				w = b.start(b.Pool, cfg).WaitStarted()
				b.caughtUp("p")
				events, err := parked.List(b.ctx, b.Pool, parked.Filter{Projection: "p"}, 0)
				require.NoError(t, err)
				require.Len(t, events, 40)
				for _, ev := range events {
					require.Zero(t, ev.Attempts+ev.Tries)
					require.Empty(t, ev.Error)
					require.Equal(t, ev.First, ev.Deferred)
					if ev.First {
						require.WithinDuration(t, l.due, ev.DueAt, time.Hour)
					}
				}
				require.Zero(t, b.int("select count(*) from event_attempts"))

				b.comesDue(l)
				testdb.Eventually(t, patience, "all to be handled", func() (bool, error) { return b.int("select count(*) from done") == 80, nil })
				testdb.Eventually(t, patience, "nothing to be set aside", func() (bool, error) { return b.int("select count(*) from parked_events") == 0, nil })
				b.inOrder()
				w.MustStop()
				blame()
			})
		})
	}
}

// A handler whose time comes while the worker runs is called by itself, without anybody's asking, and not before.
func TestEventThatIsWantedLaterIsHandledAtItsTime(t *testing.T) {
	eachForm(t, func(t *testing.T, form string) {
		b := setup(t)
		var early atomic.Int64
		due := sync.OnceValue(func() time.Time { return time.Now().Add(1500 * time.Millisecond) }) // since the first call
		cfg := b.forms(func(eventstore.Event) error {
			if time.Now().Before(due()) {
				early.Add(1)
				return rouse.NotBefore(due())
			}
			return nil
		})[form]
		b.version("d", 1)
		w := b.start(b.Pool, cfg).WaitStarted()
		testdb.Eventually(t, patience, "the event to be handled", func() (bool, error) { return b.int("select count(*) from done") == 1, nil })
		require.False(t, time.Now().Before(due()), "too early")
		require.EqualValues(t, 1, early.Load(), "it is asked once, and then at its time")
		w.MustStop()
	})
}

// A time in the past that a handler names again and again costs a try a second, and no try counts.
func TestTimeInThePastCountsAsInASecond(t *testing.T) {
	eachForm(t, func(t *testing.T, form string) {
		b := setup(t)
		var seen atomic.Bool
		cfg := b.forms(func(ev eventstore.Event) error {
			if !seen.Load() {
				return rouse.NotBefore(time.Time{})
			}
			return nil
		})[form]
		var blame func()
		cfg.Observer, blame = blameless(t)
		b.version("d", 1)
		w := b.start(b.Pool, cfg).WaitStarted()
		testdb.Eventually(t, patience, "a wait of a second", func() (bool, error) {
			return b.int(`select count(*) from parked_events where due_at > clock_timestamp() and due_at < clock_timestamp() + interval '2 s'
				and attempts = 0 and died = 0`) == 1, nil
		})
		seen.Store(true)
		testdb.Eventually(t, patience, "the event to be handled", func() (bool, error) { return b.int("select count(*) from done") == 1, nil })
		w.MustStop()
		blame()
	})
}

// Ten aggregates in a row whose handler wants them later open no breaker, nor do they close one: they say nothing of what it depends on.
func TestEventsThatAreWantedLaterTouchNoBreaker(t *testing.T) {
	eachForm(t, func(t *testing.T, form string) {
		b := setup(t)
		l := &later{due: time.Now().AddDate(1, 0, 0)}
		var away atomic.Bool
		cfg := b.forms(func(ev eventstore.Event) error {
			if err := l.fail(ev); err != nil {
				return err
			}
			if away.Load() {
				return errBroken
			}
			return nil
		})[form]
		cfg.Retry = late
		b.deadlines(10)
		w := b.start(b.Pool, cfg).WaitStarted()
		b.caughtUp("p")
		require.Empty(t, w.Status().Waiting)

		away.Store(true) // every second event fails, and between them are such that are wanted later: five failures in a row all the same
		b.exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
			select 'thing', 'x' || n, 1, case n % 2 when 0 then 'deadline' else 'good' end, '{}' from generate_series(1, 12) n`)
		testdb.Eventually(t, patience, "the breaker to open", func() (bool, error) { return len(w.Status().Waiting) == 1, nil })
		away.Store(false)
		testdb.Eventually(t, patience, "the breaker to close", func() (bool, error) { return len(w.Status().Waiting) == 0, nil })
		b.caughtUp("p")
		w.MustStop()
	})
}

// What has failed before its handler wanted it later keeps its tries, and what fails at its time has those that its policy gives it: under
// Stop too it is parked then, because the projection has gone on.
func TestFailureAtItsTimeCountsAsAnyOther(t *testing.T) {
	for _, policy := range []rouse.OnFailure{rouse.Park, rouse.Stop} {
		t.Run(string(policy), func(t *testing.T) {
			eachForm(t, func(t *testing.T, form string) {
				b := setup(t)
				l := &later{due: time.Now().AddDate(0, 0, 3)}
				var tries atomic.Int64
				cfg := b.forms(func(ev eventstore.Event) error {
					if err := l.fail(ev); err != nil || ev.Type != "deadline" {
						return err
					}
					tries.Add(1)
					return errBroken
				})[form]
				cfg.OnFailure, cfg.Retry = policy, rouse.RetryPolicy{Tries: 3, Pause: soon.Pause}
				gaveUp := make(chan rouse.OnFailure, 10)
				cfg.Observer.GaveUp = func(_ string, _ eventstore.Event, what rouse.OnFailure, _ error) { gaveUp <- what }
				b.deadlines(1)
				w := b.start(b.Pool, cfg).WaitStarted()
				b.caughtUp("p")
				b.exec("update parked_events set parked_at = parked_at - interval '3 days'")
				b.comesDue(l)
				require.Equal(t, rouse.Park, <-gaveUp)
				require.GreaterOrEqual(t, tries.Load(), int64(3), "and once with the event behind it")
				require.EqualValues(t, 1, b.int("select count(*) from parked_events where attempts = 3 and tries = 3 and due_at is null and last_error <> ''"))
				require.EqualValues(t, 1, b.int("select count(*) from parked_events where attempts = 3 and parked_at > clock_timestamp() - interval '1 day'"),
					"it fails since now, and not since it was set aside")
				b.version("after", 1)
				b.caughtUp("p")
				require.NotEqual(t, rouse.StateStopped, w.Status().States["p"])
				w.MustStop()
			})
		})
	}
}

// writesFirst is a projection that writes, and then returns what fail does.
type writesFirst struct {
	projection
	fail func(ev eventstore.Event) error
}

func (p writesFirst) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	if _, err := tx.Exec(ctx, doneSQL, p.name, ev.GlobalPosition); err != nil {
		return err
	}
	return p.fail(ev)
}

// What a projection has written before it says that it wants the event later is rolled back, and what came before in the batch is kept.
func TestWhatIsWrittenForAnEventThatIsWantedLaterIsRolledBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	l := &later{due: time.Now().AddDate(1, 0, 0)}
	calls := map[int64]int{}
	p := writesFirst{projection{name: "p"}, func(ev eventstore.Event) error { calls[ev.GlobalPosition]++; return l.fail(ev) }}
	b.deadlines(50)
	require.NoError(t, b.drain(b.Pool, rouse.Config{Projections: []rouse.Projection{p}}))
	require.EqualValues(t, 100, b.int("select count(*) from done"), "50 of others, twice")
	require.Zero(t, b.int("select count(*) from done d join events e on e.global_position = d.position where e.event_type = 'deadline'"))
	for position, n := range calls {
		require.LessOrEqual(t, n, 2, "calls at position %d: an event that is wanted later is not searched for", position)
	}
}

// A batch is done again up to the event that is wanted later. Where one of the same aggregate fails then, which had not before, the later one
// goes behind it: a time of its own would let it pass, or have the first asked at it for ever.
func TestEventThatIsWantedLaterGoesBehindOneThatFailsMeanwhile(t *testing.T) {
	t.Parallel()
	b := setup(t)
	l := &later{due: time.Now().AddDate(1, 0, 0)}
	first := b.version("a", 1)
	b.exec("insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values ('thing', 'a', 2, 'deadline', '{}')")
	var calls atomic.Int64
	p := projection{name: "p", hook: func(_ context.Context, _ pgx.Tx, ev eventstore.Event) error {
		if ev.GlobalPosition == first && calls.Add(1) == 2 {
			return errBroken
		}
		return l.fail(ev)
	}}
	w := b.start(b.Pool, rouse.Config{Projections: []rouse.Projection{p}, Retry: late}).WaitStarted()
	b.caughtUp("p")
	require.EqualValues(t, 2, calls.Load(), "once before the later one, and once without it")
	waiting, parkedFor, behind := b.stands()
	require.Equal(t, []int64{1, 0, 1}, []int64{waiting, parkedFor, behind})
	require.Zero(t, b.int("select count(*) from done"))
	b.comesDue(l)
	testdb.Eventually(t, patience, "both to be handled", func() (bool, error) { return b.int("select count(*) from done") == 2, nil })
	b.inOrder()
	w.MustStop()
}

// Handlers that queue their statements say which event they want later, those of projection.New as those of Batched: what stands before it
// is queued once more for that, and not by halves until it is found.
func TestQueuedEventThatIsWantedLaterIsNotSearchedFor(t *testing.T) {
	t.Parallel()
	type deadline struct{}
	type good struct{}
	registry := &events.Registry{}
	events.Register[deadline]("deadline", 1, events.In(registry))
	events.Register[good]("good", 1, events.In(registry))
	for _, kind := range []string{"Batched", "New"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			l := &later{due: time.Now().AddDate(1, 0, 0)}
			calls := map[int64]int{}
			queue := func(batch *pgx.Batch, ev eventstore.Event) error {
				calls[ev.GlobalPosition]++
				batch.Queue(doneSQL, "p", ev.GlobalPosition)
				return l.fail(ev)
			}
			p := projections.New("p", projections.Events(registry),
				projections.Queue(func(batch *pgx.Batch, _ deadline, ev eventstore.Event) error { return queue(batch, ev) }),
				projections.Queue(func(batch *pgx.Batch, _ good, ev eventstore.Event) error { return queue(batch, ev) }))
			if kind == "Batched" {
				p = rouse.Batched(queuing(queue))
			}
			b.deadlines(50)
			require.NoError(t, b.drain(b.Pool, rouse.Config{Projections: []rouse.Projection{p}}))
			require.EqualValues(t, 100, b.int("select count(*) from done"), "50 of others, twice")
			for position, n := range calls {
				require.LessOrEqual(t, n, 2, "calls at position %d", position)
			}
		})
	}
}

// queuing is a rouse.Queuer of a function.
type queuing func(batch *pgx.Batch, ev eventstore.Event) error

func (queuing) Name() string { return "p" }

func (q queuing) Queue(batch *pgx.Batch, ev eventstore.Event) error { return q(batch, ev) }

// Whoever waits for an event that is wanted later, or for one behind it, waits until it is handled at its time, and is told so where he has
// no time for that. Nobody else waits for it.
func TestWaitForWaitsForWhatIsWantedLater(t *testing.T) {
	t.Parallel()
	b := setup(t)
	l := &later{due: time.Now().AddDate(1, 0, 0)}
	p := projection{name: "p", hook: func(_ context.Context, _ pgx.Tx, ev eventstore.Event) error { return l.fail(ev) }}
	w := b.start(b.Pool, rouse.Config{Projections: []rouse.Projection{p}}).WaitStarted()
	pool := b.pool(pgx.QueryExecModeCacheStatement)
	stream := eventstore.Stream{Type: "thing", ID: "d"}
	deadline, behind := b.appendedTo(pool, stream, "deadline"), b.appendedTo(pool, stream, "good")
	waits := []<-chan error{
		b.started(func() error { return rouse.WaitFor(b.ctx, pool, "p", deadline) }),
		b.started(func() error { return rouse.WaitFor(b.ctx, pool, "p", behind) }),
	}
	require.NoError(t, rouse.WaitFor(b.ctx, pool, "p", b.appended(pool, "good")))
	require.NoError(t, rouse.WaitForHead(b.ctx, pool, "p"))
	require.NoError(t, w.Drain(b.ctx))
	for _, a := range []eventstore.Appended{deadline, behind} {
		testdb.Eventually(t, patience, "the reason", func() (bool, error) {
			ctx, cancel := context.WithTimeout(b.ctx, 200*time.Millisecond)
			defer cancel()
			err := rouse.WaitFor(ctx, pool, "p", a)
			if !errors.Is(err, context.DeadlineExceeded) {
				return false, fmt.Errorf("the wait has ended with %w", err)
			}
			return strings.Contains(err.Error(), "the handler wants an event at a time and no earlier"), nil
		})
	}
	for _, ended := range waits {
		require.Empty(t, ended)
	}
	b.comesDue(l)
	for _, ended := range waits {
		require.NoError(t, <-ended)
	}
	require.Equal(t, append(deadline.Positions, behind.Positions...), b.positions("select position from done where position <= $1 order by n", behind.LastPosition()))
	w.MustStop()
}

// Under Stop a try by itself is written down before it is made. One that has not failed does not count where the event could not be set
// aside at once either: a database that refuses that a few times must not stop the projection.
func TestTryAtAnEventThatIsWantedLaterDoesNotCountWhereItCannotBeSetAside(t *testing.T) {
	t.Parallel()
	b := setup(t)
	l := &later{due: time.Now().AddDate(1, 0, 0)}
	var calls atomic.Int64
	p := projection{name: "p", hook: func(_ context.Context, _ pgx.Tx, ev eventstore.Event) error {
		if calls.Add(1) == 1 { // so that it is tried by itself
			return errBroken
		}
		return l.fail(ev)
	}}
	b.append("deadline")
	b.exec("create sequence refused")
	b.exec(`create function refuse() returns trigger language plpgsql as
		$$ begin if nextval('refused') <= 4 then raise exception 'refused'; end if; return new; end $$`)
	b.exec("create trigger refuse before insert on parked_events for each row execute function refuse()")
	w := b.start(b.Pool, rouse.Config{Projections: []rouse.Projection{p}, OnFailure: rouse.Stop, Retry: rouse.RetryPolicy{Tries: 2, Pause: soon.Pause}})
	testdb.Eventually(t, patience, "the event to be set aside", func() (bool, error) {
		if b.int("select count(*) from projections where state = 'stopped'") > 0 {
			return false, errors.New("the projection has stopped")
		}
		return b.int("select count(*) from parked_events where attempts = 0") == 1, nil
	})
	require.Zero(t, b.int("select count(*) from event_attempts"))
	w.MustStop()
}

// NotBefore may be wrapped, and tells its time; only Unavailable is stronger.
func TestNotBeforeTellsItsTime(t *testing.T) {
	t.Parallel()
	due := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
	at, ok := rouse.NotBeforeTime(fmt.Errorf("invoice 7: %w", rouse.Permanent(rouse.NotBefore(due))))
	require.True(t, ok)
	require.Equal(t, due, at)
	require.EqualError(t, rouse.NotBefore(due), "rouse: not before 2031-02-03T04:05:06Z")
	_, ok = rouse.NotBeforeTime(errors.New("not before 2031"))
	require.False(t, ok)
}
