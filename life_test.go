package rouse_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	operator "github.com/rouse-es/rouse/projection"
)

// exists is whether there is a row of a projection.
func (b *bundle) exists(name string) bool {
	b.t.Helper()
	return b.int("select count(*) from projections where projection_name = $1", name) == 1
}

// A projection that is dropped under load, with two workers that run it and another one: nothing of it is handled after the drop has
// returned, nobody makes it anew, and the other goes on.
func TestDropUnderLoadEndsItInEveryWorker(t *testing.T) {
	t.Parallel()
	b := setup(t)
	stop := make(chan struct{})
	appended := make(chan error, 1)
	go func() { // the test waits for it
		for {
			_, err := b.Pool.Exec(b.ctx, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
				select 'thing', gen_random_uuid(), 1, 'e', '{}' from generate_series(1, 20)`)
			select {
			case <-stop:
				appended <- err
				return
			default:
			}
			if err != nil {
				appended <- err
				return
			}
		}
	}()
	var effects atomic.Int64
	o := &outside{hook: func(context.Context, eventstore.Event, int) error {
		effects.Add(1)
		return nil
	}}
	var workers []*running
	for range 2 {
		workers = append(workers, b.start(b.pool(pgx.QueryExecModeCacheStatement), rouse.Config{
			Projections: []rouse.Projection{projection{name: "p"}, projection{name: "other"}}, Effects: []rouse.Effect{o}, Partitions: 8,
		}))
	}
	for _, w := range workers {
		w.WaitStarted()
	}
	testdb.Eventually(t, patience, "events of all", func() (bool, error) {
		return len(b.done("p")) > 100 && len(b.done("other")) > 100 && effects.Load() > 100, nil
	})

	for _, name := range []string{"p", "outside"} {
		err := operator.Drop(b.ctx, b.Pool, name, false)
		require.ErrorIs(t, err, operator.ErrInUse)
		require.True(t, b.exists(name))
		require.NoError(t, operator.Drop(b.ctx, b.Pool, name, true))
	}
	handled, did := len(b.done("p")), effects.Load()
	others := len(b.done("other"))
	testdb.Eventually(t, patience, "the other to go on", func() (bool, error) { return len(b.done("other")) > others+1000, nil })
	close(stop)
	require.NoError(t, <-appended)
	require.Len(t, b.done("p"), handled, "nothing is handled after the drop")
	require.Equal(t, did, effects.Load(), "and nothing is done")
	require.Zero(t, b.int("select count(*) from projections where projection_name <> 'other'"), "nobody makes it anew")
	require.Zero(t, b.int("select count(*) from projection_checkpoints where projection_name <> 'other'"))
	for _, w := range workers {
		require.Equal(t, rouse.StateStopped, w.Status().States["p"])
		w.Cancel()
		err := w.Wait()
		require.ErrorIs(t, err, rouse.ErrDropped)
		var stopped *rouse.StoppedError
		require.ErrorAs(t, err, &stopped)
		require.ErrorContains(t, err, "p was dropped at ")
		require.ErrorContains(t, err, "rouse projection create p --from")
	}
}

// A drop between the effects of a batch and its save: they are rolled back, and the next batch does not come.
func TestDropBetweenTheWorkAndItsSaveRollsTheWorkBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	inHand, goOn := make(chan struct{}), make(chan struct{})
	p := projection{name: "p", hook: func(ctx context.Context, _ pgx.Tx, ev eventstore.Event) error {
		if ev.Type == "held" {
			close(inHand)
			<-goOn
		}
		return nil
	}}
	w := b.start(b.pool(pgx.QueryExecModeCacheStatement), rouse.Config{Projections: []rouse.Projection{p}, Partitions: 2}).WaitStarted()
	first := b.append("e")
	testdb.Eventually(t, patience, "the first to be saved", func() (bool, error) { return slices.Equal(b.done("p"), []int64{first}), nil })
	b.append("held")
	<-inHand
	dropped := make(chan error, 1)
	go func() { dropped <- operator.Drop(b.ctx, b.Pool, "p", true) }()
	testdb.Eventually(t, patience, "the row to be gone", func() (bool, error) { return !b.exists("p"), nil })
	select {
	case err := <-dropped:
		t.Fatalf("the drop has returned while a handler was at work: %v", err)
	default:
	}
	close(goOn)
	require.NoError(t, <-dropped)
	require.ErrorIs(t, w.Wait(), rouse.ErrDropped, "its only projection is gone")
	require.Equal(t, []int64{first}, b.done("p"))
	require.Zero(t, b.int("select count(*) from projection_checkpoints"))
}

// What is set aside goes with a projection, and its name is nobody's until a person says where it begins.
func TestDroppedNameIsRefusedUntilItIsCreated(t *testing.T) {
	t.Parallel()
	b := setup(t)
	old := b.appendAll("e", "e")
	cfg := rouse.Config{Projections: []rouse.Projection{projection{name: "p"}, projection{name: "other"}}, Partitions: 4}
	require.NoError(t, b.drain(b.Pool, cfg))
	b.exec(`insert into parked_events (projection_name, global_position, slot, event_id, aggregate_type, aggregate_id, aggregate_version, event_type)
		select 'p', global_position, slot, event_id, aggregate_type, aggregate_id, aggregate_version, event_type from events`)
	b.exec("insert into event_attempts (projection_name, global_position, slot, attempts) values ('p', 1, 1, 1)")
	require.NoError(t, operator.Drop(b.ctx, b.Pool, "p", false))
	require.ErrorIs(t, operator.Drop(b.ctx, b.Pool, "p", false), operator.ErrNoProjection)
	require.Zero(t, b.int("select (select count(*) from parked_events) + (select count(*) from event_attempts)"))

	w := b.start(b.Pool, cfg)
	testdb.Eventually(t, patience, "the worker to stop it", func() (bool, error) { return w.Status().States["p"] == rouse.StateStopped, nil })
	at := b.append("e")
	testdb.Eventually(t, patience, "the other to go on", func() (bool, error) { return slices.Contains(b.done("other"), at), nil })
	require.False(t, b.exists("p"))

	// The worker that has stopped it goes on living, and is nobody who could own a partition of what is created.
	behind, err := operator.Create(b.ctx, b.Pool, "p", rouse.Now, 8)
	require.NoError(t, err)
	require.Equal(t, at, behind)
	_, err = operator.Create(b.ctx, b.Pool, "p", rouse.Now, 8)
	require.ErrorIs(t, err, operator.ErrExists)
	new := b.append("e")
	cfg.Partitions = 0
	cfg.Projections = []rouse.Projection{startedProjection{projection{name: "p"}, rouse.Beginning}}
	second := b.start(b.pool(pgx.QueryExecModeCacheStatement), cfg).WaitStarted()
	testdb.Eventually(t, patience, "the new one to handle what is new", func() (bool, error) { return slices.Contains(b.done("p"), new), nil })
	second.MustStop()
	require.Equal(t, append(slices.Clone(old), new), b.done("p"), "and nothing that is older than its creation")
	require.EqualValues(t, 8, b.int("select count(*) from projection_checkpoints where projection_name = 'p'"))
	w.Cancel()
	require.ErrorIs(t, w.Wait(), rouse.ErrDropped)
}

// A row that a person deletes by hand is no reason to do everything again.
func TestDeletedRowIsNotMadeAnewByARunningWorker(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append("e")
	w := b.start(b.Pool, rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}, Partitions: 2}).WaitStarted()
	testdb.Eventually(t, patience, "the event", func() (bool, error) { return len(b.done("p")) == 1, nil })
	b.exec("delete from projections")
	b.append("e")
	err := w.Wait()
	require.ErrorIs(t, err, rouse.ErrDropped)
	require.ErrorContains(t, err, "somebody has deleted the row of p in projections")
	require.Len(t, b.done("p"), 1)
	require.False(t, b.exists("p"))
}

// A name changes with everything that is kept of a projection, and whoever still says the old one is told the new one.
func TestRenameTakesEverythingAlong(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.appendAll("e", "e", "e")
	one := rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}, Partitions: 4}
	require.NoError(t, b.drain(b.Pool, one))
	b.exec(`insert into parked_events (projection_name, global_position, slot, event_id, aggregate_type, aggregate_id, aggregate_version, event_type)
		select 'p', global_position, slot, event_id, aggregate_type, aggregate_id, aggregate_version, event_type from events limit 1`)
	b.exec("insert into event_attempts (projection_name, global_position, slot, attempts) values ('p', 1, 1, 1)")

	w := b.start(b.Pool, one).WaitStarted()
	require.ErrorIs(t, operator.Rename(b.ctx, b.Pool, "p", "q"), operator.ErrInUse)
	w.MustStop()
	_, err := operator.Create(b.ctx, b.Pool, "taken", "", 0)
	require.NoError(t, err)
	require.ErrorIs(t, operator.Rename(b.ctx, b.Pool, "p", "taken"), operator.ErrExists)
	require.ErrorIs(t, operator.Rename(b.ctx, b.Pool, "none", "q"), operator.ErrNoProjection)
	require.ErrorIs(t, operator.Rename(b.ctx, b.Pool, "p", ""), operator.ErrName)
	require.NoError(t, operator.Rename(b.ctx, b.Pool, "p", "q"))
	require.EqualValues(t, 4, b.int("select count(*) from projection_checkpoints where projection_name = 'q' and last_global_position >= 3"))
	require.EqualValues(t, 2, b.int("select (select count(*) from parked_events where projection_name = 'q') + (select count(*) from event_attempts where projection_name = 'q')"))

	err = b.drain(b.Pool, one)
	require.ErrorIs(t, err, rouse.ErrDropped)
	require.ErrorContains(t, err, "p is called q since ")
	require.False(t, b.exists("p"))
	require.NoError(t, operator.Rename(b.ctx, b.Pool, "q", "r"))
	require.ErrorContains(t, b.drain(b.Pool, one), "p is called r since ")
	require.NoError(t, operator.Rename(b.ctx, b.Pool, "r", "p"), "and back")
	b.exec("delete from parked_events")
	at := b.append("e")
	require.NoError(t, b.drain(b.Pool, one))
	require.Equal(t, at, slices.Max(b.done("p")))
	require.Len(t, b.done("p"), 4)
}

// A binary of a version before this one makes what is not there, at the beginning. The schema keeps it from a name that is retired.
func TestEarlierBinaryDoesNotMakeADroppedProjectionAnew(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append("e")
	require.NoError(t, b.drain(b.Pool, rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}, Partitions: 4}))
	require.NoError(t, operator.Drop(b.ctx, b.Pool, "p", false))
	// As version 14 does it, and all before: first the projection, then the checkpoints that are missing, in one statement or in two.
	for _, statement := range []string{
		"insert into projections (projection_name, partitions) values ('p', 4) on conflict do nothing",
		`with made as (insert into projections (projection_name, partitions) select name, 4 from unnest(array['p', 'x']) as name
		   on conflict do nothing returning projection_name, partitions)
		 insert into projection_checkpoints (projection_name, partition) select projection_name, n from made, generate_series(0, partitions - 1) as n`,
	} {
		_, err := b.Pool.Exec(b.ctx, statement)
		require.ErrorContains(t, err, "projection p was dropped at ")
		require.ErrorContains(t, err, "is not made anew by itself (rouse projection create p --from")
	}
	require.Zero(t, b.int("select count(*) from projections"))
	_, err := b.Pool.Exec(b.ctx, "insert into projection_checkpoints (projection_name, partition) values ('p', 0)")
	require.Error(t, err, "nor a checkpoint alone")
}

// How a drop waits for workers ends with its context.
func TestDropThatIsNotWaitedForHasDroppedAllTheSame(t *testing.T) {
	t.Parallel()
	b := setup(t)
	goOn := make(chan struct{})
	inHand := make(chan struct{})
	p := projection{name: "p", hook: func(context.Context, pgx.Tx, eventstore.Event) error {
		close(inHand)
		<-goOn
		return nil
	}}
	w := b.start(b.pool(pgx.QueryExecModeCacheStatement), rouse.Config{Projections: []rouse.Projection{p}, Partitions: 2}).WaitStarted()
	b.append("e")
	<-inHand
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	pool := b.poolWith(func(cfg *pgxpool.Config) { // whose user loses patience at the look that follows the commit
		cfg.ConnConfig.Tracer = testdb.Sent(func(...string) {
			if !b.exists("p") {
				cancel()
			}
		})
	})
	err := operator.Drop(ctx, pool, "p", true)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "p is dropped; ")
	require.ErrorContains(t, err, "its workers have stopped it")
	require.False(t, b.exists("p"))
	close(goOn)
	require.ErrorIs(t, w.Wait(), rouse.ErrDropped)
	require.Empty(t, b.done("p"))
}
