package rebuild_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/projection"
)

// deadlines are events of type "deadline" that the handler wants later: the live one until due is set, and one that replays if it waits too.
type deadlines struct {
	due, replayWaits atomic.Bool
	live             atomic.Int64 // how many the live handler has handled
}

func (d *deadlines) hook(ctx context.Context, _ pgx.Tx, ev event) error {
	switch {
	case ev.Type != "deadline":
	case !d.due.Load() && (!rouse.Replaying(ctx) || d.replayWaits.Load()):
		return rouse.NotBefore(time.Now().AddDate(1, 0, 0))
	case !rouse.Replaying(ctx):
		d.live.Add(1)
	}
	return nil
}

// comesDue lets the time pass.
func (b *bundle) comesDue(d *deadlines) {
	b.t.Helper()
	d.due.Store(true)
	b.exec("update parked_events set due_at = clock_timestamp() where due_at is not null")
}

// A deadline that waits in both moves with the swap, and the handler that is live then handles it, once.
func TestADeadlineMovesWithTheSwapAndIsHandledOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	d := &deadlines{}
	d.replayWaits.Store(true)
	b.append(10, "e")
	b.append(3, "deadline")
	b.start(tally{hook: d.hook}).WaitStarted()
	b.countedTo("e", 10)
	require.NoError(t, projection.Rebuild(b.ctx, b.Pool, "p", "", nil))
	require.Zero(t, b.counted("deadline"))
	require.EqualValues(t, 3, b.int("select count(*) from parked_events where projection_name = 'p' and due_at is not null"))
	b.comesDue(d)
	b.countedTo("deadline", 3)
	require.EqualValues(t, 3, d.live.Load(), "none of them as a replay, in which a handler leaves out what follows")
}

// A worker that was killed in a try at a deadline leaves it written down, and the next owner makes it. A swap that comes between waits too.
func TestASwapWaitsForADeadlineWhoseTryIsUnderWay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	d := &deadlines{}
	b.append(10, "e")
	b.append(1, "deadline")
	b.start(tally{hook: d.hook}).WaitStarted()
	testdb.Eventually(t, patience, "the deadline to be set aside", func() (bool, error) { return b.int("select count(*) from parked_events") == 1, nil })
	b.exec("update parked_events set tries = 1, attempts = 1, died = 1 where projection_name = 'p'")
	_, err := projection.StartRebuild(b.ctx, b.Pool, "p", "")
	require.NoError(t, err)
	waits := b.beside("p@rebuild", "waiting for the deadline", func(one projection.Build) bool { return one.Trouble != "" })
	require.Contains(t, waits.Trouble, "1 events wait in p for the time that its handler has named")
	b.comesDue(d)
	require.NoError(t, projection.Rebuild(b.ctx, b.Pool, "p", "", nil))
	require.EqualValues(t, 1, d.live.Load())
}

// What the shadow has handled as a replay, and the live one still waits for, would never be done by anybody. The swap waits for it.
func TestASwapWaitsForADeadlineThatWasOnlyReplayed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	d := &deadlines{}
	b.append(10, "e")
	b.append(1, "deadline")
	b.start(tally{hook: d.hook}).WaitStarted()
	b.countedTo("e", 10)
	_, err := projection.StartRebuild(b.ctx, b.Pool, "p", "")
	require.NoError(t, err)
	waits := b.beside("p@rebuild", "waiting for the deadline", func(one projection.Build) bool { return one.Trouble != "" })
	require.Contains(t, waits.Trouble, "1 events wait in p for the time that its handler has named, and p@rebuild has handled them, as a replay")
	require.False(t, waits.Final)
	b.comesDue(d)
	require.NoError(t, projection.Rebuild(b.ctx, b.Pool, "p", "", nil))
	require.EqualValues(t, 1, b.counted("deadline"))
	require.EqualValues(t, 1, d.live.Load())
}
