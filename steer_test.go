package rouse_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/partition"
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
	first := b.start(b.pool(pgx.QueryExecModeCacheStatement), cfg).started()
	second := b.start(b.pool(pgx.QueryExecModeCacheStatement), cfg).started()
	b.append("x")
	b.caughtUp("p")
	require.NoError(t, partition.Pause(b.ctx, b.Pool, "p"))
	before := b.done("p")
	for range 20 {
		b.append("x")
	}
	b.caughtUp("q")
	third := b.start(b.pool(pgx.QueryExecModeCacheStatement), cfg).started() // one that starts later stands still too
	for _, w := range []*running{first, second, third} {
		testdb.Eventually(t, patience, "it to say that it is paused", func() (bool, error) {
			return w.Status().States["p"] == rouse.StatePaused, nil
		})
	}
	require.Equal(t, before, b.done("p"))
	require.NoError(t, partition.Resume(b.ctx, b.Pool, "p"))
	b.caughtUp("p")
	require.Len(t, b.done("p"), 21)
	require.ErrorIs(t, partition.Pause(b.ctx, b.Pool, "nobody"), partition.ErrNoProjection)
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
	b.start(b.Pool, rouse.Config{Projections: []rouse.Projection{p}}).started()
	b.append("x")
	<-inside
	require.NoError(t, partition.Pause(b.ctx, b.Pool, "p"))
	close(goOn)
	testdb.Eventually(t, patience, "the batch to be refused", func() (bool, error) {
		return b.int("select count(*) from projection_checkpoints where owner is null") == 32, nil
	})
	require.Empty(t, b.done("p"))
	require.NoError(t, partition.Resume(b.ctx, b.Pool, "p"))
	b.caughtUp("p")
	require.Len(t, b.done("p"), 1)
}

// Starting over empties the read model and moves the checkpoints in one transaction, while workers run.
func TestResetStartsOverWithAnEmptyReadModel(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cfg := rouse.Config{Projections: []rouse.Projection{resettable{projection{name: "p"}}, projection{name: "fixed"}}}
	b.start(b.pool(pgx.QueryExecModeCacheStatement), cfg).started()
	b.start(b.pool(pgx.QueryExecModeCacheStatement), cfg).started()
	var positions []int64
	for range 30 {
		positions = append(positions, b.append("x"))
	}
	b.caughtUp("p")
	b.caughtUp("fixed")
	to, err := partition.RequestReset(b.ctx, b.Pool, "p", positions[9], false)
	require.NoError(t, err)
	require.Equal(t, positions[9], to)
	b.idle("p")
	b.caughtUp("p")
	require.ElementsMatch(t, positions[10:], b.done("p"))
	_, err = partition.RequestReset(b.ctx, b.Pool, "p", 0, false)
	require.NoError(t, err)
	b.idle("p")
	b.caughtUp("p")
	require.ElementsMatch(t, positions, b.done("p"))

	_, err = partition.RequestReset(b.ctx, b.Pool, "fixed", 0, false)
	require.NoError(t, err)
	b.idle("fixed")
	require.EqualValues(t, 1, b.int("select count(*) from projections where projection_name = 'fixed' and reset_error like '%cannot empty its read model%'"))
	b.caughtUp("fixed")
	require.Len(t, b.done("fixed"), 30, "refused: everything stays as it was")
	_, err = partition.RequestReset(b.ctx, b.Pool, "fixed", 0, true)
	require.NoError(t, err)
	b.idle("fixed")
	b.caughtUp("fixed")
	require.Len(t, b.done("fixed"), 60, "forced: applied again")

	_, err = partition.RequestReset(b.ctx, b.Pool, "p", positions[29]+100, false)
	require.ErrorIs(t, err, partition.ErrPosition)
	to, err = partition.RequestReset(b.ctx, b.Pool, "p", -1, false)
	require.NoError(t, err)
	require.Equal(t, positions[29], to)
	_, err = partition.RequestReset(b.ctx, b.Pool, "nobody", 0, false)
	require.ErrorIs(t, err, partition.ErrNoProjection)
}

// idle waits until a request to start over is done or refused.
func (b *bundle) idle(name string) {
	b.t.Helper()
	testdb.Eventually(b.t, patience, "the request to be dealt with", func() (bool, error) {
		return b.int("select count(*) from projections where projection_name = $1 and reset_to is null", name) == 1, nil
	})
}

// An event that stops a projection is passed over when somebody says so.
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
	require.ErrorAs(t, b.start(b.Pool, cfg).wait(), &stopped)
	require.NoError(t, partition.Skip(b.ctx, b.Pool, "p", stopped.Position))
	worker := b.start(b.Pool, cfg).started()
	b.caughtUp("p")
	require.NoError(t, worker.stop())
	require.ElementsMatch(t, []int64{at[0], at[2]}, b.done("p"))
	require.Zero(t, b.int("select count(*) from event_attempts"))
	require.ErrorIs(t, partition.Skip(b.ctx, b.Pool, "p", at[0]), partition.ErrPosition, "it is behind it already")
	require.ErrorIs(t, partition.Skip(b.ctx, b.Pool, "p", 10_000), partition.ErrPosition)
}
