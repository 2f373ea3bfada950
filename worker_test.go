package rouse_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/migrations"
	"github.com/rouse-es/rouse/partition"
)

func TestNewReportsEveryFaultAtOnce(t *testing.T) {
	t.Parallel()
	_, err := rouse.New(nil, rouse.Config{
		Projections: []rouse.Projection{projection{name: ""}, projection{name: "twice"}}, Effects: []rouse.Effect{&outside{}},
		WorkerIndex: 4, TotalWorkers: 4, Partitions: 12, BatchSize: -1, BatchTime: time.Microsecond,
		IdleInterval: 2 * time.Hour, PollOnly: true,
	})
	require.ErrorIs(t, err, rouse.ErrConfig)
	for _, fault := range []string{"has no name", "WorkerIndex 4", "Partitions 12", "BatchSize -1", "BatchTime 1µs of twice", "IdleInterval 2h0m0s is not", "needs the push"} {
		require.ErrorContains(t, err, fault)
	}
	_, err = rouse.New(nil, rouse.Config{Projections: []rouse.Projection{projection{name: "twice"}, projection{name: "twice"}}})
	require.ErrorContains(t, err, "two projections are named twice")
	_, err = rouse.New(nil, rouse.Config{})
	require.ErrorContains(t, err, "nothing to do")
}

func TestRunNeedsTheSchema(t *testing.T) {
	t.Parallel()
	b := &bundle{DB: testdb.Empty(t), ctx: t.Context(), t: t}
	w := b.start(b.Pool, rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}})
	require.ErrorIs(t, w.Wait(), migrations.ErrMissing)
}

func TestWorkerRunsOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := b.start(b.Pool, rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}}).WaitStarted()
	require.ErrorIs(t, w.Run(b.ctx), rouse.ErrRunning)
	require.NoError(t, w.Stop())
	require.ErrorIs(t, w.Run(b.ctx), rouse.ErrRunning)
	for range 20 { // whatever is quicker
		require.ErrorIs(t, w.Drain(b.ctx), rouse.ErrEnded)
	}
}

// A stop is no error, also one that comes while the worker still looks at the database.
func TestStopDuringTheStartIsClean(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	w, err := rouse.New(b.Pool, rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}})
	require.NoError(t, err)
	require.NoError(t, w.Run(ctx))
	require.ErrorIs(t, w.Drain(b.ctx), rouse.ErrEnded)
	for range 20 { // whichever of its goroutines is quicker
		w, err := rouse.New(b.Pool, rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}})
		require.NoError(t, err)
		require.ErrorIs(t, w.Drain(ctx), context.Canceled)
	}
}

// Everything works in every mode of pgx, those for poolers included.
func TestWorkerWorksInEveryMode(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			o := &outside{}
			w := b.start(b.pool(mode), rouse.Config{
				Projections: []rouse.Projection{projection{name: "single"}, batched{projection: projection{name: "batched"}}},
				Effects:     []rouse.Effect{o},
			}).WaitStarted()
			at := b.appendAll("e", "e", "e")
			at = append(at, b.append("e"))
			require.NoError(t, w.Drain(b.ctx))
			for range 2 {
				require.Equal(t, at, b.done("single"))
				require.Equal(t, at, b.done("batched"))
				require.Equal(t, at, o.positions())
				testdb.Eventually(t, patience, "all checkpoints at the last event", func() (bool, error) {
					return b.int("select count(*) from projection_checkpoints where last_global_position = $1", at[len(at)-1]) == 96, nil
				})
			}
			require.NoError(t, w.Stop())
		})
	}
}

func TestDrainOfAFreshWorkerHandlesWhatIsThereAndEnds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	at := b.appendAll("e", "e", "e")
	require.NoError(t, b.drain(b.Pool, rouse.Config{Projections: []rouse.Projection{projection{name: "p"}, projection{name: "q"}}}))
	require.Equal(t, at, b.done("p"))
	require.Equal(t, at, b.done("q"))
	require.Zero(t, b.int("select count(*) from projection_checkpoints where owner is not null"))
}

func TestDrainOfARunningWorkerWaits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := b.start(b.Pool, rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}})
	for range 20 {
		at := b.append("e")
		require.NoError(t, w.Drain(b.ctx))
		require.EqualValues(t, 1, b.int("select count(*) from done where position = $1", at), "what was committed before the call is handled")
	}
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	b.append("e")
	require.ErrorIs(t, w.Drain(ctx), context.Canceled)
	require.NoError(t, w.Stop())
}

// Drain waits for what was committed before the call, and for nothing else: neither for an append that is still open at the
// end of the log, nor for positions that were rolled back there and wake nobody.
func TestDrainWaitsForCommittedEventsOnly(t *testing.T) {
	t.Parallel()
	b := setup(t)
	at := b.append("e")
	open, err := b.Conn(t).Begin(b.ctx)
	require.NoError(t, err)
	const insert = `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values ('thing', 'open', 1, 'e', '{}')`
	_, err = open.Exec(b.ctx, insert)
	require.NoError(t, err)
	require.NoError(t, b.drain(b.Pool, rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}}))
	require.Equal(t, []int64{at}, b.done("p"))
	require.NoError(t, open.Rollback(b.ctx))

	w := b.start(b.Pool, rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}})
	testdb.Eventually(t, patience, "the worker to sleep", func() (bool, error) { return w.Status().Mode == "quiet", nil })
	require.NoError(t, w.Drain(b.ctx))
	// The next poll comes after a second at the earliest. A machine that is busy may need another try.
	took := patience
	for try := 0; try < 20 && took >= 800*time.Millisecond; try++ {
		rolledBack, err := b.Conn(t).Begin(b.ctx)
		require.NoError(t, err)
		_, err = rolledBack.Exec(b.ctx, insert)
		require.NoError(t, err)
		require.NoError(t, rolledBack.Rollback(b.ctx))
		began := time.Now()
		require.NoError(t, w.Drain(b.ctx))
		took = time.Since(began)
	}
	require.Less(t, took, 800*time.Millisecond, "it must not wait for the next poll")
}

// The events behind the one in hand are not begun, though they were read with it: they may take long.
func TestCleanStopFinishesTheEventInHandAndGivesUpThePartitions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	inHandler, goOn := make(chan struct{}), make(chan struct{})
	p := projection{name: "p", hook: func(_ context.Context, _ pgx.Tx, ev eventstore.Event) error {
		if ev.Type == "slow" {
			close(inHandler)
			<-goOn
		}
		return nil
	}}
	at := b.appendAll("e", "slow", "e")
	w := b.start(b.Pool, rouse.Config{Projections: []rouse.Projection{p}, Label: "me"}).WaitStarted()
	<-inHandler
	testdb.Eventually(t, patience, "a heartbeat", func() (bool, error) {
		return b.int("select count(*) from projection_workers where label = 'me'") == 1, nil
	})
	require.EqualValues(t, 32, b.int("select count(*) from projection_checkpoints where owner = (select instance_id from projection_workers)"))
	w.Cancel()
	later := b.append("e") // not to be taken up any more
	close(goOn)
	require.NoError(t, w.Wait())
	require.Equal(t, at[:2], b.done("p"), "the event in hand is finished, and nothing else is begun")
	require.Zero(t, b.int("select count(*) from projection_checkpoints where owner is not null"))
	require.Zero(t, b.int("select count(*) from projection_workers"))
	require.NoError(t, b.drain(b.Pool, rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}}))
	require.Equal(t, append(at, later), b.done("p"))
}

// A handler that minds its context loses its transaction at the end of StopTimeout, and the worker ends in order.
func TestStopTimeoutCancelsTheHandler(t *testing.T) {
	t.Parallel()
	b := setup(t)
	inHandler := make(chan struct{})
	p := projection{name: "p", hook: func(ctx context.Context, tx pgx.Tx, _ eventstore.Event) error {
		close(inHandler)
		_, err := tx.Exec(ctx, "select pg_sleep(600)")
		return err
	}}
	at := b.append("e")
	w := b.start(b.pool(pgx.QueryExecModeCacheStatement), rouse.Config{Projections: []rouse.Projection{p}, StopTimeout: 200 * time.Millisecond})
	<-inHandler
	require.NoError(t, w.Stop())
	require.Empty(t, b.done("p"))
	require.NoError(t, b.drain(b.Pool, rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}}))
	require.Equal(t, []int64{at}, b.done("p"))
}

func TestHandlerThatIgnoresItsContextIsLeftBehind(t *testing.T) {
	t.Parallel()
	b := setup(t)
	inHandler, goOn, returned := make(chan struct{}), make(chan struct{}), make(chan struct{})
	p := projection{name: "p", hook: func(context.Context, pgx.Tx, eventstore.Event) error {
		close(inHandler)
		<-goOn
		close(returned)
		return nil
	}}
	at := b.append("e")
	w := b.start(b.pool(pgx.QueryExecModeCacheStatement), rouse.Config{Projections: []rouse.Projection{p}, StopTimeout: 200 * time.Millisecond})
	<-inHandler
	err := w.Stop()
	require.ErrorIs(t, err, rouse.ErrStopTimeout)
	require.Zero(t, b.int("select count(*) from projection_checkpoints where owner is not null"), "its partitions are free all the same")
	require.NoError(t, b.drain(b.Pool, rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}}))
	close(goOn) // what it still writes must not be committed
	<-returned
	testdb.Eventually(t, patience, "its transaction to end", func() (bool, error) {
		return b.int("select count(*) from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'") == 0, nil
	})
	require.Equal(t, []int64{at}, b.done("p"))
}

func TestPartitionsThatDifferFromTheDatabaseAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cfg := rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}, Partitions: 8}
	require.NoError(t, b.drain(b.Pool, cfg))
	require.EqualValues(t, 8, b.int("select count(*) from projection_checkpoints"))
	cfg.Partitions = 16
	err := b.drain(b.Pool, cfg)
	require.ErrorIs(t, err, partition.ErrMismatch)
	require.ErrorContains(t, err, "p is kept in 8, and 16 were asked for")
	cfg.Partitions = 0
	require.NoError(t, b.drain(b.Pool, cfg), "whatever the database says")
	require.EqualValues(t, 8, b.int("select count(*) from projection_checkpoints"))
}

func TestWorkerBeyondThePartitionsStandsBy(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := b.start(b.Pool, rouse.Config{
		Projections: []rouse.Projection{projection{name: "p"}}, Partitions: 2, WorkerIndex: 2, TotalWorkers: 3,
	}).WaitStarted()
	testdb.Eventually(t, patience, "it to stand by", func() (bool, error) { return w.Status().States["p"] == rouse.StateStandby, nil })
	b.append("e")
	require.NoError(t, w.Drain(b.ctx), "nothing of it is this worker's")
	require.NoError(t, w.Stop())
	require.Empty(t, b.done("p"))
}

// A version that jumps is reported, once for each aggregate.
func TestVersionThatJumpsIsReportedOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, version := range []int{1, 2, 4, 7, 8} {
		b.exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values ('thing', 'a', $1, 'e', '{}')`, version)
	}
	var wants []int64
	var at []int64
	require.NoError(t, b.drain(b.Pool, rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}, Observer: rouse.Observer{
		VersionGap: func(_ string, ev eventstore.Event, want int64) {
			wants, at = append(wants, want), append(at, ev.AggregateVersion)
		},
	}}))
	require.Equal(t, []int64{3}, wants)
	require.Equal(t, []int64{4}, at)
	require.Len(t, b.done("p"), 5)
}
