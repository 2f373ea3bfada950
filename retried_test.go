package rouse_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/parked"
	operator "github.com/rouse-es/rouse/projection"
)

// A retry does nothing a second time that has succeeded before.
func TestRetryDoesNothingTwice(t *testing.T) {
	eachForm(t, func(t *testing.T, form string) {
		b := setup(t)
		var mu sync.Mutex
		broken, calls := map[int64]bool{1: true, 6: true}, map[int64]int{}
		cfg := b.forms(func(ev eventstore.Event) error {
			mu.Lock()
			defer mu.Unlock()
			if broken[ev.AggregateVersion] {
				return rouse.Permanent(errBroken)
			}
			calls[ev.AggregateVersion]++
			return nil
		})[form]
		for v := 1; v <= 10; v++ {
			b.version("a", v)
		}
		w := b.start(b.Pool, cfg).WaitStarted()
		b.caughtUp("p")
		require.EqualValues(t, 10, b.int("select count(*) from parked_events"))
		mu.Lock()
		broken[1] = false
		clear(calls)
		mu.Unlock()
		retry := func(left int64) {
			_, err := parked.Retry(b.ctx, b.Pool, parked.Filter{Projection: "p"})
			require.NoError(t, err)
			testdb.Eventually(t, patience, "the retry", func() (bool, error) {
				return b.int("select count(*) from parked_events") == left && b.int("select count(*) from parked_events where due_at is not null") == 0, nil
			})
		}
		retry(5)
		require.Equal(t, []int64{1, 2, 3, 4, 5}, b.versionsOf("p", "a"))
		require.EqualValues(t, []int64{1, 0}, []int64{b.int("select attempts from parked_events where aggregate_version = 6"), b.int("select max(attempts) from parked_events where aggregate_version > 6")},
			"it was tried, and those behind it were not")
		mu.Lock()
		broken[6] = false
		mu.Unlock()
		retry(0)
		require.Equal(t, []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, b.versionsOf("p", "a"))
		if form == "Effect" {
			for v, n := range calls {
				require.Equal(t, 1, n, "version %d", v)
			}
		}
		w.MustStop()
	})
}

// Parked events whose rows were erased from the log are taken out of the queue, and hold back neither others nor those behind them.
func TestErasedEventsBlockNobody(t *testing.T) {
	eachForm(t, func(t *testing.T, form string) {
		b := setup(t)
		k := &breakable{}
		k.broken.Store(true)
		cfg := b.forms(func(ev eventstore.Event) error {
			if k.broken.Load() {
				return rouse.Permanent(errBroken)
			}
			return nil
		})[form]
		b.exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
			select 'thing', a, v, 'happened', '{}' from generate_series(1, 150) v, unnest(array['a', 'b']) a order by v`)
		w := b.start(b.Pool, cfg).WaitStarted()
		b.caughtUp("p")
		require.EqualValues(t, 300, b.int("select count(*) from parked_events"))
		b.exec("delete from events where aggregate_id = 'a' and aggregate_version < 150")
		k.broken.Store(false)
		_, err := parked.Retry(b.ctx, b.Pool, parked.Filter{Projection: "p"})
		require.NoError(t, err)
		testdb.Eventually(t, patience, "the queues to be empty", func() (bool, error) { return b.int("select count(*) from parked_events") == 0, nil })
		require.Equal(t, []int64{150}, b.versionsOf("p", "a"))
		require.Len(t, b.versionsOf("p", "b"), 150)
		w.MustStop()
	})
}

// A long queue costs as much for each of its events as a short one: each row is changed once before its try, and the first of each go once
// more, of which there are more where a machine is slow.
func TestLongQueueCostsAsMuchForEachEvent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const n = 8_000
	k := &breakable{}
	k.broken.Store(true)
	fail := func(ev eventstore.Event) error {
		if k.broken.Load() && ev.AggregateVersion == 1 {
			return rouse.Permanent(errBroken)
		}
		return nil
	}
	b.exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 'thing', 'a', v, 'happened', '{}' from generate_series(1, $1) v`, n)
	w := b.start(b.Pool, b.forms(fail)["ByBatch"]).WaitStarted()
	b.caughtUp("p")
	require.EqualValues(t, n, b.int("select count(*) from parked_events"))
	k.broken.Store(false)
	_, err := parked.Retry(b.ctx, b.Pool, parked.Filter{Projection: "p"})
	require.NoError(t, err)
	testdb.Eventually(t, patience, "the queue to be empty", func() (bool, error) { return b.int("select count(*) from parked_events") == 0, nil })
	w.MustStop()
	b.inOrder()
	b.Pool.Reset() // a session tells its counts when it ends, if not before
	var updated int64
	testdb.Eventually(t, patience, "the server to have counted", func() (bool, error) {
		var deleted int64
		err := b.Conn(t).QueryRow(b.ctx, "select n_tup_upd, n_tup_del from pg_stat_user_tables where relname = 'parked_events'").Scan(&updated, &deleted)
		return deleted >= n, err
	})
	require.LessOrEqual(t, updated, int64(n+n/10), "and not a count that grows with the square")
}

// While events are being retried, the number of partitions changes and workers come and go: each is handled once, in order.
func TestRetriesSurviveResizesAndWorkers(t *testing.T) {
	eachForm(t, func(t *testing.T, form string) {
		b := setup(t)
		var mu sync.Mutex
		tries := map[int64]int{}
		cfg := b.forms(func(ev eventstore.Event) error {
			mu.Lock()
			defer mu.Unlock()
			if tries[ev.GlobalPosition]++; ev.AggregateVersion%3 == 1 && tries[ev.GlobalPosition] < 10 {
				return errBroken
			}
			return nil
		})[form]
		cfg.Retry = soon
		const aggregates, each = 12, 15
		b.exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
			select 'thing', 'a' || a, v, 'happened', '{}' from generate_series(1, $1) a, generate_series(1, $2) v order by v, a`, aggregates, each)
		start := func() *running { // all aggregates fail at first, which looks like a service that is away
			return b.startPausing(b.Pool, cfg, time.Millisecond, time.Millisecond).WaitStarted()
		}
		w := start()
		for _, partitions := range []int{64, 8, 32} {
			_, err := operator.Resize(b.ctx, b.Pool, "p", partitions)
			require.NoError(t, err)
			next := start()
			w.MustStop()
			w = next
		}
		testdb.Eventually(t, patience, "all to be handled", func() (bool, error) {
			return b.int("select count(*) from done") >= aggregates*each && b.int("select count(*) from parked_events") == 0, nil
		})
		w.MustStop()
		require.EqualValues(t, aggregates*each, b.int("select count(*) from done"))
		b.inOrder()
	})
}

// The server cuts the worker's connections while an event is retried, or while an effect is saved, again and again. None of these tries counts, also not where the
// database does not hear of that at once.
func TestOutagesTakeTheTryBack(t *testing.T) {
	eachForm(t, func(t *testing.T, form string) {
		b := setup(t)
		k := &breakable{}
		k.broken.Store(true)
		var cut atomic.Int64
		var cutting sync.WaitGroup
		var over atomic.Bool
		admin := b.Conn(t)
		t.Cleanup(func() { over.Store(true); cutting.Wait() })
		cfg := b.forms(func(ev eventstore.Event) error {
			switch {
			case ev.AggregateVersion > 1:
			case k.broken.Load():
				return rouse.Permanent(errBroken)
			case cut.Add(1) > 4:
			case form == "Effect":
				cutting.Wait()
				cutting.Add(1)
				_, err := admin.Exec(b.ctx, "begin; select from projection_checkpoints for update") // the save will wait
				go func() {
					defer cutting.Done()
					for n := 0; err == nil && n == 0 && !over.Load(); {
						err = b.Pool.QueryRow(b.ctx, `select count(pg_terminate_backend(pid)) from pg_stat_activity
							where datname = current_database() and application_name = 'handled' and wait_event_type = 'Lock'`).Scan(&n)
					}
					_, _ = admin.Exec(b.ctx, "rollback")
				}()
			default: // the sessions of the worker die while the handler works
				_, err := admin.Exec(b.ctx, `select pg_terminate_backend(pid) from pg_stat_activity
					where datname = current_database() and pid <> pg_backend_pid() and application_name = 'handled'`)
				require.NoError(t, err)
			}
			return nil
		})[form]
		for v := 1; v <= 3; v++ {
			b.version("a", v)
		}
		config := b.Pool.Config()
		config.ConnConfig.RuntimeParams["application_name"] = "handled"
		config.MaxConns = 6
		pool, err := pgxpool.NewWithConfig(b.ctx, config)
		require.NoError(t, err)
		t.Cleanup(pool.Close)
		cfg.Retry.Tries = 2
		w := b.start(pool, cfg).WaitStarted()
		b.caughtUp("p")
		k.broken.Store(false)
		_, err = parked.Retry(b.ctx, b.Pool, parked.Filter{Projection: "p"})
		require.NoError(t, err)
		testdb.Eventually(t, patience, "the queue to be empty", func() (bool, error) { return b.int("select count(*) from parked_events") == 0, nil })
		w.MustStop()
		require.Greater(t, cut.Load(), int64(4), "it was tried again after the outages")
		require.EqualValues(t, 3, b.int("select count(distinct position) from done"))
	})
}

// A parked event whose handler does not come back is tried as often as any other, its partition goes on, and nothing is left behind.
func TestRetriedEventThatHangsIsParkedAgain(t *testing.T) {
	eachForm(t, func(t *testing.T, form string) {
		b := setup(t)
		release := make(chan struct{})
		t.Cleanup(func() { close(release) })
		k := &breakable{}
		k.broken.Store(true)
		cfg := b.forms(func(ev eventstore.Event) error {
			if ev.Type != "bad" {
				return nil
			}
			if k.broken.Load() {
				return rouse.Permanent(errBroken)
			}
			<-release
			return nil
		})[form]
		cfg.HandlerTimeout, cfg.StopTimeout = 100*time.Millisecond, 100*time.Millisecond
		cfg.Retry = rouse.RetryPolicy{Tries: 2, Pause: soon.Pause}
		for range 2 {
			b.start(b.Pool, cfg).WaitStarted()
		}
		b.append("bad")
		b.caughtUp("p")
		k.broken.Store(false)
		_, err := parked.Retry(b.ctx, b.Pool, parked.Filter{Projection: "p"})
		require.NoError(t, err)
		testdb.Eventually(t, patience, "the event to be parked again", func() (bool, error) {
			return b.int("select count(*) from parked_events where due_at is null and attempts = 3") == 1, nil
		})
		good := b.append("good")
		testdb.Eventually(t, patience, "what is new to be handled", func() (bool, error) {
			return b.int("select count(*) from done where position = $1", good) == 1, nil
		})
		require.Zero(t, b.int("select count(*) from event_attempts"))
	})
}

// Binaries before version 10 know of requests by retry_requested_at alone. What they have asked for, also in the middle of a queue that they
// have begun, the next owner takes over; and what it asks for, they see.
func TestRequestsOfOlderBinariesAreTakenOver(t *testing.T) {
	t.Parallel()
	b := setup(t)
	k := &breakable{}
	k.broken.Store(true)
	cfg := b.forms(k.fail)["ByBatch"]
	for v := 1; v <= 12; v++ {
		b.version("a", v)
	}
	w := b.start(b.Pool, cfg).WaitStarted()
	b.caughtUp("p")
	require.EqualValues(t, 8, b.int("select count(*) from parked_events"))
	_, err := parked.Retry(b.ctx, b.Pool, parked.Filter{Projection: "p"})
	require.NoError(t, err)
	require.Positive(t, b.int("select count(*) from parked_events where retry_requested_at is not null or due_at is not null or attempts > 1"), "they see it, if it is not taken up yet")
	testdb.Eventually(t, patience, "the try to fail", func() (bool, error) {
		return b.int("select count(*) from parked_events where due_at is null and retry_requested_at is null and attempts = 2") == 1, nil
	})
	k.broken.Store(false)
	// As parked_handled.sql of version 8 leaves a queue.
	b.exec("delete from parked_events where aggregate_version = 5")
	b.exec("update parked_events set retry_requested_at = clock_timestamp()")
	testdb.Eventually(t, patience, "the queue to be empty", func() (bool, error) { return b.int("select count(*) from parked_events") == 0, nil })
	w.MustStop()
	require.Equal(t, []int64{1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12}, b.versionsOf("p", "a"))
}

// Queues work in every mode in which statements may be sent.
func TestRetriesWorkInEveryQueryMode(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			var tries atomic.Int64
			cfg := b.forms(func(ev eventstore.Event) error {
				if ev.AggregateVersion == 2 && tries.Add(1) < 5 {
					return errBroken
				}
				return nil
			})["ByEvent"]
			cfg.Retry = soon
			pool := b.pool(mode)
			for v := 1; v <= 4; v++ {
				b.version("a", v)
			}
			b.exec("delete from events where aggregate_version = 3")
			w := b.start(pool, cfg).WaitStarted()
			testdb.Eventually(t, patience, "all to be handled", func() (bool, error) { return b.int("select count(*) from done") == 3, nil })
			w.MustStop()
			require.Equal(t, []int64{1, 2, 4}, b.versionsOf("p", "a"))
			_, err := parked.Retry(b.ctx, pool, parked.Filter{Projection: "p", Error: "x", Since: time.Now()})
			require.NoError(t, err)
			_, err = parked.Aggregates(b.ctx, pool, parked.Filter{EventType: "x"}, 1)
			require.NoError(t, err)
			_, err = parked.Discard(b.ctx, pool, parked.Filter{Projection: "p", Error: "x"})
			require.NoError(t, err)
		})
	}
}

// Bulk retries choose by the kind of event and by the error, and reach the first events of the aggregates that they touch.
func TestRetryOfAFilterReachesItsAggregates(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cfg := b.forms(func(ev eventstore.Event) error {
		if ev.AggregateVersion == 1 {
			return rouse.Permanent(fmt.Errorf("%s: %w", ev.Type, errBroken))
		}
		return nil
	})["ByBatch"]
	for i, eventType := range []string{"paid", "sent", "paid"} {
		b.exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
			select $1, $2, v, case v when 1 then $3 else 'other' end, '{}' from generate_series(1, 3) v`, fmt.Sprint("t", i%2), fmt.Sprint("a", i), eventType)
	}
	w := b.start(b.Pool, cfg).WaitStarted()
	b.caughtUp("p")
	w.MustStop()
	for _, tc := range []struct {
		filter parked.Filter
		events int64
		heads  int
	}{
		{parked.Filter{EventType: "paid"}, 6, 2},
		{parked.Filter{EventType: "other"}, 9, 3},
		{parked.Filter{Error: "sent: bro"}, 3, 1},
		{parked.Filter{Error: "%"}, 0, 0},
		{parked.Filter{Aggregate: eventstore.Stream{Type: "t0"}}, 6, 2},
		{parked.Filter{Since: time.Now().Add(time.Hour)}, 0, 0},
		{parked.Filter{Since: time.Now().Add(-time.Hour), Aggregate: eventstore.Stream{ID: "a1"}}, 3, 1},
	} {
		b.exec("update parked_events set due_at = null, retry_requested_at = null")
		tc.filter.Projection = "p"
		n, err := parked.Retry(b.ctx, b.Pool, tc.filter)
		require.NoError(t, err)
		require.Equal(t, tc.events, n, "%+v", tc.filter)
		heads, err := parked.Aggregates(b.ctx, b.Pool, tc.filter, 0)
		require.NoError(t, err)
		require.Len(t, heads, tc.heads)
		for _, head := range heads {
			require.EqualValues(t, 3, head.Events)
			require.EqualValues(t, 1, head.Version)
			require.False(t, head.DueAt.IsZero())
		}
		require.EqualValues(t, tc.heads, b.int("select count(due_at) from parked_events"))
	}
}
