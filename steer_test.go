package rouse_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/partition"
	operator "github.com/rouse-es/rouse/projection"
)

// resettable empties what it has written down.
type resettable struct{ projection }

func (r resettable) Reset(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, "delete from done where projection = $1", r.name)
	return err
}

// A paused projection handles nothing more, from the moment on when Pause returns, in every worker; others go on.
func TestPausedProjectionStandsStill(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cfg := rouse.Config{Projections: []rouse.Projection{projection{name: "p"}, projection{name: "q"}}}
	first := b.start(b.pool(pgx.QueryExecModeCacheStatement), cfg).WaitStarted()
	second := b.start(b.pool(pgx.QueryExecModeCacheStatement), cfg).WaitStarted()
	b.append("x")
	b.caughtUp("p")
	require.NoError(t, operator.Pause(b.ctx, b.Pool, "p"))
	before := b.done("p")
	for range 20 {
		b.append("x")
	}
	b.caughtUp("q")
	third := b.start(b.pool(pgx.QueryExecModeCacheStatement), cfg).WaitStarted() // one that starts later stands still too
	for _, w := range []*running{first, second, third} {
		testdb.Eventually(t, patience, "it to say that it is paused", func() (bool, error) {
			return w.Status().States["p"] == rouse.StatePaused, nil
		})
	}
	require.Equal(t, before, b.done("p"))
	require.NoError(t, operator.Resume(b.ctx, b.Pool, "p"))
	b.caughtUp("p")
	require.Len(t, b.done("p"), 21)
	require.ErrorIs(t, operator.Pause(b.ctx, b.Pool, "nobody"), operator.ErrNoProjection)
}

// A batch in hand does not commit after Pause has returned.
func TestPauseEndsWhatIsInFlight(t *testing.T) {
	t.Parallel()
	b := setup(t)
	inside, goOn := make(chan struct{}), make(chan struct{})
	hold := true
	p := projection{name: "p", hook: func(context.Context, pgx.Tx, eventstore.Event) error {
		if hold {
			hold = false
			close(inside)
			<-goOn
		}
		return nil
	}}
	b.start(b.Pool, rouse.Config{Projections: []rouse.Projection{p}}).WaitStarted()
	b.append("x")
	<-inside
	require.NoError(t, operator.Pause(b.ctx, b.Pool, "p"))
	close(goOn)
	testdb.Eventually(t, patience, "the batch to be refused", func() (bool, error) {
		return b.int("select count(*) from projection_checkpoints where owner is null") == 32, nil
	})
	require.Empty(t, b.done("p"))
	require.NoError(t, operator.Resume(b.ctx, b.Pool, "p"))
	b.caughtUp("p")
	require.Len(t, b.done("p"), 1)
}

// Starting over empties the read model and moves the checkpoints in one transaction, while workers run.
func TestResetStartsOverWithAnEmptyReadModel(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cfg := rouse.Config{Projections: []rouse.Projection{resettable{projection{name: "p"}}, projection{name: "fixed"}}}
	b.start(b.pool(pgx.QueryExecModeCacheStatement), cfg).WaitStarted()
	b.start(b.pool(pgx.QueryExecModeCacheStatement), cfg).WaitStarted()
	var positions []int64
	for range 30 {
		positions = append(positions, b.append("x"))
	}
	b.caughtUp("p")
	b.caughtUp("fixed")
	to, err := operator.Reset(b.ctx, b.Pool, "p", positions[9], false)
	require.NoError(t, err)
	require.Equal(t, positions[9], to)
	b.idle("p")
	b.caughtUp("p")
	require.ElementsMatch(t, positions[10:], b.done("p"))
	_, err = operator.Reset(b.ctx, b.Pool, "p", 0, false)
	require.NoError(t, err)
	b.idle("p")
	b.caughtUp("p")
	require.ElementsMatch(t, positions, b.done("p"))

	_, err = operator.Reset(b.ctx, b.Pool, "fixed", 0, false)
	require.NoError(t, err)
	b.idle("fixed")
	require.EqualValues(t, 1, b.int("select count(*) from projections where projection_name = 'fixed' and reset_error like '%cannot empty its read model%'"))
	b.caughtUp("fixed")
	require.Len(t, b.done("fixed"), 30, "refused: everything stays as it was")
	_, err = operator.Reset(b.ctx, b.Pool, "fixed", 0, true)
	require.NoError(t, err)
	b.idle("fixed")
	b.caughtUp("fixed")
	require.Len(t, b.done("fixed"), 60, "forced: applied again")

	_, err = operator.Reset(b.ctx, b.Pool, "p", positions[29]+100, false)
	require.ErrorIs(t, err, operator.ErrPosition)
	to, err = operator.Reset(b.ctx, b.Pool, "p", -1, false)
	require.NoError(t, err)
	require.Equal(t, positions[29], to)
	_, err = operator.Reset(b.ctx, b.Pool, "nobody", 0, false)
	require.ErrorIs(t, err, operator.ErrNoProjection)
}

// idle waits until a request to start over is done or refused.
func (b *bundle) idle(name string) {
	b.t.Helper()
	testdb.Eventually(b.t, patience, "the request to be dealt with", func() (bool, error) {
		return b.int("select count(*) from projections where projection_name = $1 and reset_to is null", name) == 1, nil
	})
}

// A pause outlasts a stop that comes from what was in hand: whoever starts the worker again finds it paused, and both are to be seen.
func TestPauseOutlastsAStop(t *testing.T) {
	t.Parallel()
	b := setup(t)
	inHand, goOn := make(chan struct{}), make(chan struct{})
	var bad atomic.Bool
	var once sync.Once
	bad.Store(true)
	cfg := rouse.Config{OnFailure: rouse.Stop, Projections: []rouse.Projection{projection{name: "p", hook: func(context.Context, pgx.Tx, eventstore.Event) error {
		if !bad.Load() {
			return nil
		}
		once.Do(func() { close(inHand) })
		<-goOn
		return rouse.Permanent(errBroken)
	}}}}
	w := b.start(b.Pool, cfg).WaitStarted()
	at := b.append("e")
	<-inHand
	require.NoError(t, operator.Pause(b.ctx, b.Pool, "p"))
	close(goOn)
	var stopped *rouse.StoppedError
	require.ErrorAs(t, w.Wait(), &stopped)
	condition := func() operator.Listed {
		list, err := operator.List(b.ctx, b.Pool)
		require.NoError(t, err)
		return list[0]
	}
	require.Equal(t, "paused", condition().State)
	require.True(t, condition().Stopped)
	require.Equal(t, "broken", b.text("select last_error from projections"))

	bad.Store(false)
	w = b.start(b.Pool, cfg)
	w.WaitState("p", rouse.StatePaused)
	require.Empty(t, b.done("p"))
	require.True(t, condition().Stopped, "why it was stopped is not forgotten before somebody takes it up again")
	require.NoError(t, operator.Resume(b.ctx, b.Pool, "p"))
	b.caughtUp("p")
	require.NoError(t, w.Stop())
	require.Equal(t, []int64{at}, b.done("p"))
	require.Equal(t, "running", condition().State)
	require.False(t, condition().Stopped)
}

// To pause and to resume does not mend what has stopped a projection; only a worker that takes it up does.
func TestWhyAProjectionIsStoppedStaysUntilAWorkerTakesItUp(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := partition.Ensure(b.ctx, b.Pool, "p", 0)
	require.NoError(t, err)
	condition := func() string {
		list, err := operator.List(b.ctx, b.Pool)
		require.NoError(t, err)
		return fmt.Sprintf("%s %t %s", list[0].State, list[0].Stopped, b.text("select coalesce(last_error, '') from projections"))
	}
	for _, stop := range []string{ // as this binary does it, and as the previous one did
		"update projections set state = 'stopped', stopped_at = now(), last_error = 'why', error_at = now()",
		"update projections set state = 'stopped', stopped_at = null, last_error = 'why', error_at = now()",
	} {
		b.exec(stop)
		require.NoError(t, operator.Pause(b.ctx, b.Pool, "p"))
		require.Equal(t, "paused true why", condition())
		require.NoError(t, operator.Pause(b.ctx, b.Pool, "p"))
		require.Equal(t, "paused true why", condition())
		require.NoError(t, operator.Resume(b.ctx, b.Pool, "p"))
		require.Equal(t, "stopped true why", condition())
		require.NoError(t, operator.Resume(b.ctx, b.Pool, "p"))
		require.Equal(t, "stopped true why", condition())
		require.NoError(t, b.drain(b.Pool, rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}}))
		require.Equal(t, "running false ", condition())
	}
	// The previous binary takes it up and leaves stopped_at as it was.
	b.exec("update projections set state = 'running', stopped_at = now(), last_error = null, error_at = null")
	require.Equal(t, "running false ", condition())
	require.NoError(t, operator.Pause(b.ctx, b.Pool, "p"))
	require.Equal(t, "paused false ", condition())
}

// An event that stops a projection is passed over when an operator says so.
func TestSkipPassesOverOneEvent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cfg := rouse.Config{
		Projections: []rouse.Projection{projection{name: "p", hook: func(_ context.Context, _ pgx.Tx, ev eventstore.Event) error {
			if ev.Type == "bad" {
				return rouse.Permanent(errBroken)
			}
			return nil
		}}}, OnFailure: rouse.Stop,
	}
	at := b.appendAll("good", "bad", "good")
	var stopped *rouse.StoppedError
	require.ErrorAs(t, b.start(b.Pool, cfg).Wait(), &stopped)
	require.NoError(t, operator.Skip(b.ctx, b.Pool, "p", stopped.Position))
	worker := b.start(b.Pool, cfg).WaitStarted()
	b.caughtUp("p")
	require.NoError(t, worker.Stop())
	require.ElementsMatch(t, []int64{at[0], at[2]}, b.done("p"))
	require.Zero(t, b.int("select count(*) from event_attempts"))
	require.ErrorIs(t, operator.Skip(b.ctx, b.Pool, "p", at[0]), operator.ErrPosition, "it is behind it already")
	require.ErrorIs(t, operator.Skip(b.ctx, b.Pool, "p", 10_000), operator.ErrPosition)
}

// An event whose save commits between the request and its lock is handled, and nothing is left of the request.
func TestSkipOfAnEventThatIsBeingSavedIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := partition.Ensure(b.ctx, b.Pool, "p", 0)
	require.NoError(t, err)
	at := b.append("e")
	save := b.Conn(t)
	for _, sql := range []string{"begin", fmt.Sprintf("update projection_checkpoints set last_global_position = %d", at)} {
		_, err := save.Exec(b.ctx, sql)
		require.NoError(t, err)
	}
	done := make(chan error, 1)
	go func() { done <- operator.Skip(b.ctx, b.Pool, "p", at) }()
	testdb.Eventually(t, patience, "the request to wait for the save", func() (bool, error) {
		return b.int("select count(*) from pg_locks where not granted and pid <> pg_backend_pid()") > 0, nil
	})
	_, err = save.Exec(b.ctx, "commit")
	require.NoError(t, err)
	require.ErrorIs(t, <-done, operator.ErrPosition)
	require.Zero(t, b.int("select count(*) from event_attempts"))
}
