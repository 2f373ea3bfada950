package rouse_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/parked"
)

// These tests are of events that fail: they are set aside until their next try, and nothing else waits.

// soon and late are policies whose pauses no test has to wait for, or that no test can wait for.
var (
	soon = rouse.RetryPolicy{Tries: 1000, Pause: func(int) time.Duration { return 10 * time.Millisecond }}
	late = rouse.RetryPolicy{Pause: func(int) time.Duration { return time.Hour }}
)

// forms runs a test with a handler of each form, whose projection is named p, and which fails where fail does and writes down what it has
// done.
func (b *bundle) forms(fail func(ev eventstore.Event) error) map[string]rouse.Config {
	p := projection{name: "p", hook: func(_ context.Context, _ pgx.Tx, ev eventstore.Event) error { return fail(ev) }}
	return map[string]rouse.Config{
		"ByEvent": {Projections: []rouse.Projection{p}},
		"ByBatch": {Projections: []rouse.Projection{batched{projection: p, queue: func(_ *pgx.Batch, ev eventstore.Event) error { return fail(ev) }}}},
		"Effect": {Effects: []rouse.Effect{leasedEffect{name: "p", do: func(ctx context.Context, ev eventstore.Event) error {
			if err := fail(ev); err != nil {
				return err
			}
			_, err := b.Pool.Exec(ctx, doneSQL, "p", ev.GlobalPosition)
			return err
		}}}},
	}
}

// handlerForms are the keys of forms.
var handlerForms = []string{"ByEvent", "ByBatch", "Effect"}

// eachForm runs a test with each form of a handler.
func eachForm(t *testing.T, test func(t *testing.T, form string)) {
	t.Helper()
	t.Parallel()
	for _, form := range handlerForms {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			test(t, form)
		})
	}
}

// stands are the numbers of parked events whose next try is known, of those that wait for people, and of those behind both.
func (b *bundle) stands() (retrying, parkedFor, behind int64) {
	b.t.Helper()
	events, err := parked.List(b.ctx, b.Pool, parked.Filter{Projection: "p"}, 0)
	require.NoError(b.t, err)
	for _, ev := range events {
		switch {
		case !ev.First:
			behind++
			require.True(b.t, ev.DueAt.IsZero(), "only the first of an aggregate has a time")
		case ev.DueAt.IsZero():
			parkedFor++
		default:
			retrying++
		}
	}
	return retrying, parkedFor, behind
}

// inOrder checks that the versions of each aggregate were handled in order, each once.
func (b *bundle) inOrder() {
	b.t.Helper()
	require.Zero(b.t, b.int(`select count(*) from (select e.aggregate_version - lag(e.aggregate_version, 1, 0::bigint)
		over (partition by e.aggregate_type, e.aggregate_id order by d.n) step from done d join events e on e.global_position = d.position) s where step <> 1`))
}

// Twenty events among a thousand fail. Their next try is in an hour, and all others are handled without waiting for any of them.
func TestEventsThatFailHoldNobodyElseUp(t *testing.T) {
	eachForm(t, func(t *testing.T, form string) {
		b := setup(t)
		cfg := b.forms(func(ev eventstore.Event) error {
			if ev.Type == "bad" {
				return errBroken
			}
			return nil
		})[form]
		cfg.Retry = late
		b.exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
			select 'thing', 'a' || n, 1, case when n % 50 = 0 then 'bad' else 'good' end, '{}' from generate_series(1, 1000) n`)
		b.exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
			select 'thing', 'a' || n, 2, 'good', '{}' from generate_series(1, 1000) n`)
		w := b.start(b.Pool, cfg).WaitStarted()
		b.caughtUp("p")
		retrying, parkedFor, behind := b.stands()
		require.EqualValues(t, []int64{20, 0, 20}, []int64{retrying, parkedFor, behind})
		require.EqualValues(t, 1960, b.int("select count(distinct position) from done"))
		require.NotEqual(t, rouse.StateRetrying, w.Status().States["p"], "the projection goes on")
		b.inOrder()
		w.MustStop()
	})
}

// An event that fails a few times is handled in the end without anybody's help, and the later ones of its aggregate behind it, while others
// come in.
func TestEventThatFailsForAWhileIsHandledInOrder(t *testing.T) {
	eachForm(t, func(t *testing.T, form string) {
		b := setup(t)
		var mu sync.Mutex
		tries := map[int64]int{}
		cfg := b.forms(func(ev eventstore.Event) error {
			if ev.AggregateVersion%5 != 0 || ev.AggregateID != "a" {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			if tries[ev.GlobalPosition]++; tries[ev.GlobalPosition] < 8 {
				return errBroken
			}
			return nil
		})[form]
		cfg.Retry = soon
		w := b.start(b.Pool, cfg).WaitStarted()
		for v := 1; v <= 60; v++ {
			b.version("a", v)
			b.version("b", v)
		}
		testdb.Eventually(t, patience, "all to be handled", func() (bool, error) { return b.int("select count(*) from done") == 120, nil })
		b.inOrder()
		b.caughtUp("p")
		testdb.Eventually(t, patience, "nothing to be parked", func() (bool, error) { return b.int("select count(*) from parked_events") == 0, nil })
		require.Zero(t, b.int("select count(*) from event_attempts"))
		w.MustStop()
		b.inOrder()
	})
}

// Between the last try and the first the error, the tries and the time of the next one are there to be read; after the last one the event is
// parked for people, and the observer hears of it once. A retry gives it as many tries again.
func TestEventIsParkedForPeopleAfterItsLastTry(t *testing.T) {
	eachForm(t, func(t *testing.T, form string) {
		b := setup(t)
		cfg := b.forms(func(ev eventstore.Event) error {
			if ev.Type == "bad" {
				return errBroken
			}
			return nil
		})[form]
		gaveUp := make(chan eventstore.Event, 10)
		cfg.Observer.GaveUp = func(_ string, ev eventstore.Event, what rouse.OnFailure, err error) {
			if what == rouse.Park && errors.Is(err, errBroken) {
				gaveUp <- ev
			}
		}
		hour := make(chan struct{})
		cfg.Retry = rouse.RetryPolicy{Tries: 4, Pause: func(try int) time.Duration {
			select {
			case <-hour:
				return 5 * time.Millisecond
			default:
				return time.Hour
			}
		}}
		bad := b.append("bad")
		w := b.start(b.Pool, cfg).WaitStarted()
		b.caughtUp("p")
		events, err := parked.List(b.ctx, b.Pool, parked.Filter{Projection: "p"}, 0)
		require.NoError(t, err)
		require.Len(t, events, 1)
		require.Equal(t, 1, events[0].Tries)
		require.Equal(t, "broken", events[0].Error)
		require.WithinDuration(t, time.Now().Add(time.Hour), events[0].DueAt, 15*time.Minute, "an hour, and a fifth more or less")
		require.Empty(t, gaveUp)
		close(hour)
		for round, attempts := range []int64{1 + 4, 1 + 4 + 4} {
			_, err = parked.Retry(b.ctx, b.Pool, parked.Filter{Projection: "p"})
			require.NoError(t, err)
			require.Equal(t, bad, (<-gaveUp).GlobalPosition)
			testdb.Eventually(t, patience, "the event to be parked", func() (bool, error) {
				return b.int("select count(*) from parked_events where due_at is null") == 1, nil
			})
			require.Equal(t, attempts, b.int("select attempts from parked_events"), round)
			require.EqualValues(t, 4, b.int("select tries from parked_events"))
		}
		w.MustStop()
		require.Empty(t, gaveUp)
	})
}

// Under Skip an event has its tries too, with its aggregate behind it, and is passed over after the last.
func TestSkippedEventHasItsTriesBefore(t *testing.T) {
	eachForm(t, func(t *testing.T, form string) {
		b := setup(t)
		cfg := b.forms(func(ev eventstore.Event) error {
			if ev.AggregateVersion == 5 {
				return errBroken
			}
			return nil
		})[form]
		cfg.OnFailure, cfg.Retry = rouse.Skip, rouse.RetryPolicy{Tries: 4, Pause: soon.Pause}
		var skipped []int64
		var mu sync.Mutex
		cfg.Observer.GaveUp = func(_ string, ev eventstore.Event, what rouse.OnFailure, err error) {
			mu.Lock()
			defer mu.Unlock()
			if what == rouse.Skip && errors.Is(err, errBroken) {
				skipped = append(skipped, ev.AggregateVersion)
			}
		}
		for v := 1; v <= 7; v++ {
			b.version("a", v)
		}
		w := b.start(b.Pool, cfg).WaitStarted()
		testdb.Eventually(t, patience, "the rest", func() (bool, error) { return len(b.versionsOf("p", "a")) == 6, nil })
		require.Equal(t, []int64{1, 2, 3, 4, 6, 7}, b.versionsOf("p", "a"))
		w.MustStop()
		require.Equal(t, []int64{5}, skipped)
		require.Zero(t, b.int("select (select count(*) from parked_events) + (select count(*) from event_attempts)"))
	})
}

// An error that asks for a pause gets it, where the policy's is shorter, and a permanent one gets no other try.
func TestErrorsOfAHandlerChooseTheNextTry(t *testing.T) {
	eachForm(t, func(t *testing.T, form string) {
		b := setup(t)
		cfg := b.forms(func(ev eventstore.Event) error {
			switch ev.Type {
			case "later":
				return fmt.Errorf("busy: %w", rouse.RetryAfter(errBroken, 2*time.Hour))
			case "never":
				return rouse.RetryAfter(rouse.Permanent(errBroken), time.Hour)
			}
			return nil
		})[form]
		cfg.Retry = soon
		later, never := b.append("later"), b.append("never")
		w := b.start(b.Pool, cfg).WaitStarted()
		b.caughtUp("p")
		require.Equal(t, []int64{later}, b.positions("select global_position from parked_events where due_at between now() + interval '119 minutes' and now() + interval '2 hours'"))
		require.Equal(t, []int64{never}, b.positions("select global_position from parked_events where due_at is null"))
		w.MustStop()
	})
	require.NoError(t, rouse.RetryAfter(nil, time.Hour))
	require.ErrorIs(t, rouse.RetryAfter(errBroken, time.Hour), errBroken)
}

func (b *bundle) positions(sql string, args ...any) []int64 {
	b.t.Helper()
	rows, err := b.Pool.Query(b.ctx, sql, args...)
	require.NoError(b.t, err)
	positions, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	require.NoError(b.t, err)
	return positions
}

// What a policy says of itself is checked before anything runs.
func TestRetryPoliciesAreChecked(t *testing.T) {
	t.Parallel()
	_, err := rouse.New(nil, rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}, Retry: rouse.RetryPolicy{Jitter: 1.5}})
	require.ErrorIs(t, err, rouse.ErrConfig)
	require.ErrorContains(t, err, "RetryPolicy.Jitter 1.5 is above 1")
	pause := rouse.Doubling(100*time.Millisecond, time.Minute)
	var all time.Duration
	for try := range rouse.DefaultTries - 1 {
		all += pause(try + 1)
	}
	require.Equal(t, 11, int(all.Round(time.Minute).Minutes()))
	require.Equal(t, time.Minute, pause(1<<30))
	all, pause = 0, rouse.Doubling(100*time.Millisecond, time.Hour)
	for try := range rouse.DefaultEffectTries - 1 {
		all += pause(try + 1)
	}
	require.Equal(t, 24, int(all.Round(time.Hour).Hours()))
	require.True(t, slices.IsSorted([]time.Duration{pause(1), pause(2), pause(20)}))
}
