package rouse_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/parked"
)

var errBroken = errors.New("broken")

// version appends one version of an aggregate and returns its position.
func (b *bundle) version(aggregate string, version int) int64 {
	b.t.Helper()
	return b.int(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		values ('thing', $1, $2, 'happened', '{}') returning global_position`, aggregate, version)
}

// caughtUp waits until every checkpoint of a projection is at the last event.
func (b *bundle) caughtUp(name string) {
	b.t.Helper()
	testdb.Eventually(b.t, patience, name+" to catch up", func() (bool, error) {
		return b.int(`select count(*) from projection_checkpoints where projection_name = $1
			and last_global_position = (select max(global_position) from events)`, name) == 32, nil
	})
}

// versionsOf are the versions of an aggregate that a projection has handled, in the order in which it did.
func (b *bundle) versionsOf(name, aggregate string) (versions []int64) {
	b.t.Helper()
	require.NoError(b.t, b.Pool.QueryRow(b.ctx, `select coalesce(array_agg(e.aggregate_version order by d.n), '{}')
		from done d join events e on e.global_position = d.position where d.projection = $1 and e.aggregate_id = $2`, name, aggregate).Scan(&versions))
	return versions
}

// breakable fails at version 5 of aggregate "a" as long as it is broken, in all three forms of a handler.
type breakable struct {
	broken atomic.Bool
	tries  atomic.Int64
}

func (k *breakable) fail(ev eventstore.Event) error {
	if ev.AggregateID != "a" || ev.AggregateVersion != 5 {
		return nil
	}
	k.tries.Add(1)
	if k.broken.Load() {
		return rouse.Permanent(errBroken)
	}
	return nil
}

// Version 5 of one aggregate fails: 6 and later wait behind it, other aggregates go on, a restart in the middle changes
// nothing, and a retry restores the order.
func TestParkingKeepsTheOrderOfAnAggregate(t *testing.T) {
	eachForm(t, func(t *testing.T, form string) {
		b := setup(t)
		k := &breakable{}
		k.broken.Store(true)
		cfg := b.forms(k.fail)[form]
		for v := 1; v <= 7; v++ {
			b.version("a", v)
			b.version("b", v)
		}
		worker := b.start(b.Pool, cfg).WaitStarted()
		b.caughtUp("p")
		b.version("a", 8)
		b.version("b", 8)
		b.caughtUp("p")
		require.Equal(t, []int64{1, 2, 3, 4}, b.versionsOf("p", "a"))
		require.Len(t, b.versionsOf("p", "b"), 8)
		require.NoError(t, worker.Stop())

		worker = b.start(b.Pool, cfg).WaitStarted()
		b.version("a", 9)
		b.caughtUp("p")
		events, err := parked.List(b.ctx, b.Pool, parked.Filter{Projection: "p"}, 0)
		require.NoError(t, err)
		require.Len(t, events, 5)
		require.EqualValues(t, 5, events[0].Version)
		require.Equal(t, "broken", events[0].Error)
		require.Positive(t, events[0].Attempts)
		require.Zero(t, events[1].Attempts)
		require.Zero(t, b.int("select count(*) from event_attempts"))

		tries := k.tries.Load()
		n, err := parked.Retry(b.ctx, b.Pool, parked.Filter{Projection: "p"}) // still broken
		require.NoError(t, err)
		require.EqualValues(t, 5, n)
		testdb.Eventually(t, patience, "another failure", func() (bool, error) {
			return b.int("select count(*) from parked_events where attempts > $1 and died = 0", events[0].Attempts) == 1, nil
		})
		require.Greater(t, k.tries.Load(), tries)
		require.EqualValues(t, 5, b.int("select count(*) from parked_events where due_at is null and retry_requested_at is null"), "and nobody asks any more")

		k.broken.Store(false)
		_, err = parked.Retry(b.ctx, b.Pool, parked.Filter{Projection: "p", Aggregate: eventstore.Stream{Type: "thing", ID: "a"}})
		require.NoError(t, err)
		b.version("a", 10)
		testdb.Eventually(t, patience, "the aggregate to be free", func() (bool, error) { return len(b.versionsOf("p", "a")) == 10, nil })
		b.version("a", 11)
		b.caughtUp("p")
		require.Equal(t, []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, b.versionsOf("p", "a"))
		require.Zero(t, b.int("select count(*) from parked_events"))
		require.NoError(t, worker.Stop())
	})
}

// Once the event to blame is discarded, those behind it are handled.
func TestDiscardLetsTheRestGoOn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	k := &breakable{}
	k.broken.Store(true)
	worker := b.start(b.Pool, b.forms(k.fail)["ByBatch"]).WaitStarted()
	var fifth int64
	for v := 1; v <= 8; v++ {
		if position := b.version("a", v); v == 5 {
			fifth = position
		}
	}
	testdb.Eventually(t, patience, "four parked events", func() (bool, error) { return b.int("select count(*) from parked_events") == 4, nil })
	n, err := parked.Discard(b.ctx, b.Pool, parked.Filter{Projection: "p", Position: fifth})
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	testdb.Eventually(t, patience, "the rest to be handled", func() (bool, error) { return len(b.versionsOf("p", "a")) == 7, nil })
	b.version("a", 9)
	b.caughtUp("p")
	require.Equal(t, []int64{1, 2, 3, 4, 6, 7, 8, 9}, b.versionsOf("p", "a"))
	require.NoError(t, worker.Stop())
	_, err = parked.Discard(b.ctx, b.Pool, parked.Filter{})
	require.ErrorIs(t, err, parked.ErrFilter)
}

func TestSkippedEventIsPassedOver(t *testing.T) {
	t.Parallel()
	b := setup(t)
	k := &breakable{}
	k.broken.Store(true)
	cfg := b.forms(k.fail)["ByBatch"]
	cfg.OnFailure = rouse.Skip
	var what []rouse.OnFailure
	cfg.Observer.GaveUp = func(_ string, ev eventstore.Event, w rouse.OnFailure, err error) {
		if errors.Is(err, errBroken) && ev.AggregateVersion == 5 {
			what = append(what, w)
		}
	}
	for v := 1; v <= 7; v++ {
		b.version("a", v)
	}
	worker := b.start(b.Pool, cfg).WaitStarted()
	b.caughtUp("p")
	require.NoError(t, worker.Stop())
	require.Equal(t, []int64{1, 2, 3, 4, 6, 7}, b.versionsOf("p", "a"))
	require.Equal(t, []rouse.OnFailure{rouse.Skip}, what)
	require.Zero(t, b.int("select (select count(*) from parked_events) + (select count(*) from event_attempts)"))
}

// The tries of an event add up over workers that end in the middle, and do not count what was not the handler's fault.
func TestTriesAddUpOverRestarts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var tries atomic.Int64
	tried := make(chan struct{}, 100)
	cfg := rouse.Config{Retry: rouse.RetryPolicy{Tries: 5}, Projections: []rouse.Projection{projection{name: "p", hook: func(_ context.Context, _ pgx.Tx, ev eventstore.Event) error {
		if ev.Type != "bad" {
			return nil
		}
		tries.Add(1)
		tried <- struct{}{}
		return errBroken
	}}}}
	bad := b.append("bad")
	for round := 0; b.int("select count(*) from parked_events where due_at is null") == 0; round++ {
		require.Less(t, round, 10)
		worker := b.start(b.Pool, cfg).WaitStarted()
		select {
		case <-tried:
		case <-time.After(patience):
			require.FailNow(t, "it is not tried")
		}
		_ = worker.Stop()
	}
	require.Equal(t, bad, b.int("select global_position from parked_events"))
	require.EqualValues(t, 5, b.int("select attempts from parked_events"))
	require.LessOrEqual(t, tries.Load(), int64(7), "once in its batch, and five times alone")
}

// Ten thousand parked events of a hundred aggregates are handled again while new ones come in, and those do not wait.
func TestManyParkedEventsAreRetriedBesideLiveOnes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var broken atomic.Bool
	broken.Store(true)
	p := batched{projection: projection{name: "p"}, queue: func(_ *pgx.Batch, ev eventstore.Event) error {
		if broken.Load() && ev.AggregateVersion == 1 && ev.AggregateType == "queue" {
			return rouse.Permanent(errBroken)
		}
		return nil
	}}
	p.hook = func(_ context.Context, _ pgx.Tx, ev eventstore.Event) error { return p.queue(nil, ev) }
	const aggregates, each = 100, 100
	b.exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 'queue', 'q' || a, v, 'happened', '{}' from generate_series(1, $1) a, generate_series(1, $2) v order by v, a`, aggregates, each)
	worker := b.start(b.Pool, rouse.Config{Projections: []rouse.Projection{p}}).WaitStarted()
	testdb.Eventually(t, patience, "all of them to be parked", func() (bool, error) {
		return b.int("select count(*) from parked_events") == aggregates*each, nil
	})
	broken.Store(false)
	n, err := parked.Retry(b.ctx, b.Pool, parked.Filter{Projection: "p"})
	require.NoError(t, err)
	require.EqualValues(t, aggregates*each, n)
	between := 0
	for v := 1; b.int("select count(*) from parked_events") > 0; v++ {
		at := b.version("live", v)
		testdb.Eventually(t, patience, "a live event", func() (bool, error) {
			return b.int("select count(*) from done where position = $1", at) == 1, nil
		})
		between++
	}
	require.Greater(t, between, 3, "live events were handled in between")
	require.NoError(t, worker.Stop())
	require.Zero(t, b.int(`select count(*) from (select e.aggregate_version - lag(e.aggregate_version, 1, 0::bigint)
		over (partition by e.aggregate_id order by d.n) step from done d join events e on e.global_position = d.position) s where step <> 1`))
	require.EqualValues(t, aggregates*each, b.int("select count(*) from done d join events e on e.global_position = d.position where e.aggregate_type = 'queue'"))
}

func TestPoliciesAreChecked(t *testing.T) {
	t.Parallel()
	_, err := rouse.New(nil, rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}, OnFailure: "explode"})
	require.ErrorIs(t, err, rouse.ErrConfig)
	require.ErrorContains(t, err, `"explode" is none of park, stop, skip`)
	require.NoError(t, rouse.Permanent(nil))
	require.ErrorIs(t, fmt.Errorf("x: %w", rouse.Permanent(errBroken)), errBroken)
}
