package listener_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/listener"
)

// follower reads the log as a worker does, but for the poll: asleep, it looks only when it is woken.
type follower struct {
	l      *running
	reader *catchup.Reader
	wake   *listener.Wake

	found atomic.Int64 // events
	err   error        // good once it has ended
}

func (b *testBundle) follow(t *testing.T, l *running) *follower {
	t.Helper()
	wake, leave := l.Subscribe()
	t.Cleanup(leave)
	f := &follower{l: l, wake: wake, reader: catchup.NewReader(b.Pool, b.log, b.token, everything(), 0)}
	ctx, cancel := context.WithCancel(b.ctx)
	var reading sync.WaitGroup
	reading.Go(func() { f.run(ctx) })
	t.Cleanup(func() {
		cancel()
		reading.Wait()
		assert.NoError(t, f.err)
	})
	return f
}

func (f *follower) run(ctx context.Context) {
	woken := false
	for ctx.Err() == nil {
		batch, err := f.reader.Next(ctx, 500)
		if err != nil {
			if ctx.Err() == nil {
				f.err = err
			}
			return
		}
		f.l.Observe(batch.Head, batch.Holders, woken)
		f.found.Add(int64(len(batch.Events)))
		if !batch.More {
			woken = f.wait(ctx, batch)
		}
	}
}

// wait waits for a wake, without an end where the reader is asleep; it reports whether it was woken.
func (f *follower) wait(ctx context.Context, batch catchup.Batch) (woken bool) {
	var poll <-chan time.Time
	state := f.l.State()
	if state.Mode != listener.Quiet || batch.Blocked || max(batch.Settled, batch.To) < state.ArmedHead {
		poll = time.After(5 * time.Millisecond)
	}
	select {
	case <-f.wake.C:
		return true
	case <-poll:
	case <-ctx.Done():
	}
	return false
}

// atOnce is how many events a fast writer appends at once, so that their rate is that of a torrent on a machine that has much to do, too.
const atOnce = 20

// writeFast starts writers that append as fast as they can. It returns a function that stops them and tells how many events
// they have committed.
func (b *testBundle) writeFast(t *testing.T, writers int) (committed func() int64, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(b.ctx)
	var writing sync.WaitGroup
	var count atomic.Int64
	for range writers {
		a := b.appender(t, "", eventstore.NewID().String())
		writing.Go(func() {
			for version := int64(1); ctx.Err() == nil; version += atOnce {
				// Not under ctx, so that it is known what was committed.
				if _, err := a.conn.Exec(b.ctx, insertSQL, a.name, version, atOnce); !assert.NoError(t, err) {
					return
				}
				count.Add(atOnce)
			}
		})
	}
	stop = func() {
		cancel()
		writing.Wait()
	}
	t.Cleanup(stop)
	return count.Load, stop
}

// Writers that are fast are left alone by the push, and lose nothing by it: several times in and out again.
func TestTorrent_LeavesWritersAloneAndLosesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cfg, _ := b.config(t)
	l := b.run(t, cfg)
	pid := b.armed(t, l)
	f := b.follow(t, l)
	e := b.listen(t, wakeChannel(b.log.Events))
	switches := 3
	if stress() {
		switches = 100
	}
	var total int64
	for n := range switches {
		committed, stop := b.writeFast(t, 3)
		testdb.Eventually(t, patience, "a torrent", func() (bool, error) { return l.saw(listener.Torrent) == n+1, nil })
		b.requireNoPush(t, e, l, committed)
		found := f.found.Load()
		testdb.Eventually(t, patience, "events to flow", func() (bool, error) { return f.found.Load() > found, nil })
		stop()
		total += committed()

		testdb.Eventually(t, patience, "quiet", func() (bool, error) { return l.saw(listener.Quiet) >= n+2, nil })
		require.Equal(t, pid, b.armed(t, l), "S is held again, once, on the same connection")
		require.Equal(t, n+1, l.saw(listener.Torrent), "it does not flap")
		testdb.Eventually(t, patience, "all events to be found", func() (bool, error) { return f.found.Load() >= total, nil })

		b.append(t) // and one that only a wake can lead to
		total++
		testdb.Eventually(t, patience, "the event that was appended in quiet", func() (bool, error) { return f.found.Load() >= total, nil })
		require.Equal(t, total, f.found.Load(), "nothing twice")
	}
}

// requireNoPush proves that in a torrent S is not held and commits do not notify. Two appends that probe at the same moment
// take each other for a sleeper, so a few may.
func (b *testBundle) requireNoPush(t *testing.T, e *ears, l *running, committed func() int64) {
	t.Helper()
	b.requireNobodyAsleep(t)
	e.heard(t) // what was sent by appends that had found S
	const enough = 200 * atOnce
	before := committed()
	testdb.Eventually(t, patience, "writers to go on", func() (bool, error) { return committed() > before+enough, nil })
	wakes := len(e.heard(t))
	commits := (committed() - before) / atOnce
	require.Equal(t, listener.Torrent, l.State().Mode, "this was all in one torrent")
	b.requireNobodyAsleep(t)
	t.Logf("%d wakes for %d commits", wakes, commits)
	require.Less(t, int64(wakes), commits/10)
}

// requireNobodyAsleep looks until nobody shares S: whoever sleeps does so for long, and a probing append for a moment.
func (b *testBundle) requireNobodyAsleep(t *testing.T) {
	t.Helper()
	for looks := 0; len(b.asleep(t)) > 0; looks++ {
		require.Less(t, looks, 200, "somebody sleeps")
	}
}

// asleep lists the sessions that share S, while appends go on whose probes hold it alone for a moment.
func (b *testBundle) asleep(t *testing.T) (pids []int32) {
	t.Helper()
	for _, k := range b.locks(t) {
		if k.Kind == "sleeper" && k.Shared {
			pids = append(pids, k.PID)
		}
	}
	return pids
}
