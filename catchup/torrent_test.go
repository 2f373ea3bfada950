package catchup_test

import (
	"context"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/internal/testdb"
)

// inTorrent is a feed of all slots whose source reads as in a torrent.
type inTorrent struct {
	*bundle
	reads, looks, blocked atomic.Int64

	mu    sync.Mutex // protects found
	found []int64    // positions, as they were brought
}

// torrent starts one in a process of so many.
func (b *bundle) torrent(members int, slots catchup.SlotSet) *inTorrent {
	b.t.Helper()
	f := &inTorrent{bundle: b}
	pool := b.pool(pgx.QueryExecModeCacheStatement, 4, func(cfg *pgxpool.Config) {
		cfg.ConnConfig.Tracer = testdb.Sent(func(texts ...string) {
			for _, text := range texts {
				switch {
				case strings.Contains(text, "pg_locks"):
					f.looks.Add(1)
				case strings.Contains(text, "events where global_position"):
					f.reads.Add(1)
				}
			}
		})
	})
	source := catchup.NewSource(catchup.SourceConfig{
		Pool: pool, BatchSize: 100, Members: func() int { return members },
		Hooks: catchup.SourceHooks{Blocked: func() { f.blocked.Add(1) }},
	})
	catchup.InTorrent(source)
	feed := source.Feed(catchup.FeedConfig{Log: b.log, Token: b.token, Slots: slots})
	ctx, cancel := context.WithCancel(b.ctx)
	var both sync.WaitGroup
	both.Go(func() { feed.Run(ctx) })
	both.Go(func() {
		for batch := range feed.C {
			source.NoteUse()
			f.mu.Lock()
			f.found = append(f.found, positionsOf(batch.Events)...)
			f.mu.Unlock()
		}
	})
	b.t.Cleanup(func() {
		cancel()
		both.Wait()
		require.ErrorIs(b.t, feed.Err(), context.Canceled)
	})
	return f
}

func (f *inTorrent) brought() []int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]int64{}, f.found...)
}

// waitFor waits until so many events were brought.
func (f *inTorrent) waitFor(n int) []int64 {
	f.t.Helper()
	testdb.Eventually(f.t, patience, "the events", func() (bool, error) { return len(f.brought()) >= n, nil })
	return f.brought()
}

// readsOn waits for more reads, of which the last begins and ends after this call.
func (f *inTorrent) readsOn(n int64) {
	f.t.Helper()
	before := f.reads.Load()
	testdb.Eventually(f.t, patience, "reads", func() (bool, error) { return f.reads.Load() >= before+n, nil })
}

func TestTorrent_AHoleHoldsWhatIsAboveItAndNothingElse(t *testing.T) {
	t.Parallel()
	f := setup(t).torrent(1, allSlots())
	below := f.append(f.Pool, 2)
	slow := f.begin(pgx.ReadCommitted)
	hole := f.append(slow, 1)
	above := f.append(f.Pool, 3)
	require.Equal(t, below, f.waitFor(2))
	seen := f.blocked.Load()
	testdb.Eventually(t, patience, "looks at the locks", func() (bool, error) { return f.blocked.Load() >= seen+2, nil })
	f.readsOn(3)
	require.Equal(t, below, f.brought(), "what is above the hole must wait, whatever the locks say meanwhile")
	require.NoError(t, slow.Commit(f.ctx))
	require.Equal(t, append(append(below, hole...), above...), f.waitFor(6))
}

// Nobody notifies of the end of an append that was rolled back, and in no read without the locks is there a trace of it.
func TestTorrent_EventsAboveARollbackFlowAtOnce(t *testing.T) {
	t.Parallel()
	f := setup(t).torrent(1, allSlots())
	var want []int64
	for range 5 {
		want = append(want, f.append(f.Pool, 1)...)
		dead := f.begin(pgx.ReadCommitted)
		f.append(dead, 1)
		want = append(want, f.append(f.Pool, 2)...)
		f.readsOn(2)
		require.NoError(t, dead.Rollback(f.ctx))
		require.Equal(t, want, f.waitFor(len(want)))
	}
}

// The locks of appends are looked at for a hole, and else ten times a second, and not by every read.
func TestTorrent_ReadsLeaveTheLocksAlone(t *testing.T) {
	t.Parallel()
	f := setup(t).torrent(1, allSlots())
	want := 0
	for range 100 {
		f.append(f.Pool, 1)
		want++
		f.readsOn(2)
	}
	f.waitFor(want)
	reads, looks := f.reads.Load(), f.looks.Load()
	t.Logf("%d looks in %d reads", looks, reads)
	require.Less(t, looks, reads/2)
}

// Writers of all kinds at once: quick ones, slow ones, and such that roll back. Everything that was committed comes once, and in
// the order of positions, to one reader and to many.
func TestTorrent_NothingIsLeftOutUnderWriters(t *testing.T) {
	t.Parallel()
	for name, members := range map[string]int{"One": 1, "Many": glanceMembers + 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			f := b.torrent(members, allSlots())
			rounds := 60
			if os.Getenv("ROUSE_STRESS") != "" {
				rounds = 2000
			}
			var writing sync.WaitGroup
			errs := make(chan error, 6)
			for writer := range cap(errs) {
				conn := b.Conn(t)
				writing.Go(func() {
					for n := range rounds {
						how := "commit"
						if (n+writer)%5 == 0 {
							how = "rollback"
						}
						_, err := conn.Exec(b.ctx, `begin;
							insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
							select 'thing', gen_random_uuid(), 1, 'e', '{}' from generate_series(1, 1 + (random() * 2)::int);
							select pg_sleep(case when random() < .2 then random() * .01 else 0 end); `+how)
						if err != nil {
							errs <- err
							return
						}
					}
				})
			}
			writing.Wait()
			close(errs)
			require.NoError(t, <-errs)
			rows, err := b.Pool.Query(b.ctx, "select global_position from events order by global_position")
			require.NoError(t, err)
			want := b.positions(rows)
			require.Equal(t, want, f.waitFor(len(want)))
			require.Positive(t, f.looks.Load())
		})
	}
}

const glanceMembers = 4
