package rebuild_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/rebuild"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/projection"
)

// readers look at the live read model again and again. What one has seen once must never be less, or missing, later.
type readers struct {
	reads atomic.Int64
	mu    sync.Mutex // protects wrong
	wrong []string
	stop  context.CancelFunc
	ended sync.WaitGroup
}

// watch starts readers, each on a connection of its own, in the modes of pgx in turn.
func (b *bundle) watch(n int) *readers {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.ctx)
	r := &readers{stop: cancel}
	modes := []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeExec}
	for i := range n {
		conn := b.Conn(b.t)
		r.ended.Go(func() {
			seen := map[string]int64{}
			for ctx.Err() == nil {
				if err := r.look(ctx, conn, modes[i%len(modes)], seen); err != nil && ctx.Err() == nil {
					r.found(err.Error())
					return
				}
				select { // so that the readers leave something to the others
				case <-ctx.Done():
				case <-time.After(20 * time.Millisecond):
				}
			}
		})
	}
	b.t.Cleanup(func() { cancel(); r.ended.Wait() })
	return r
}

func (r *readers) look(ctx context.Context, conn *pgx.Conn, mode pgx.QueryExecMode, seen map[string]int64) error {
	rows, err := conn.Query(ctx, "select type, n from counts", mode)
	if err != nil {
		return err
	}
	now := map[string]int64{}
	var eventType string
	var n int64
	if _, err := pgx.ForEachRow(rows, []any{&eventType, &n}, func() error { now[eventType] = n; return nil }); err != nil {
		return err
	}
	for eventType, before := range seen {
		if now[eventType] < before {
			r.found(fmt.Sprintf("there were %d of %s, and now there are %d", before, eventType, now[eventType]))
		}
	}
	for eventType, n := range now {
		seen[eventType] = n
	}
	r.reads.Add(1)
	return nil
}

func (r *readers) found(wrong string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wrong = append(r.wrong, wrong)
}

func (r *readers) mistakes() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wrong
}

// load appends events of ten types until it is stopped, and returns how many. It waits while the read model is a hundred behind, so that
// workers on a slow machine can follow.
func (b *bundle) load() (stop func() int64) {
	ctx, cancel := context.WithCancel(b.ctx)
	conn := b.Conn(b.t)
	var appended int64
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(25 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			<-tick.C
			_, err := conn.Exec(b.ctx, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
				select 'thing', gen_random_uuid(), 1, 'e' || n % 10, '{}' from generate_series(1, 5) n`)
			if err != nil {
				b.t.Errorf("append: %v", err)
				return
			}
			appended += 5
			for counted := int64(-1); counted < appended-100 && ctx.Err() == nil; {
				<-tick.C
				if err := conn.QueryRow(b.ctx, "select coalesce(sum(n), 0)::bigint from counts").Scan(&counted); err != nil {
					b.t.Errorf("count: %v", err)
					return
				}
			}
		}
	}()
	stopped := func() int64 { cancel(); <-ended; return appended }
	b.t.Cleanup(func() { stopped() })
	return stopped
}

func (b *bundle) total() int64 { return b.int("select coalesce(sum(n), 0) from counts") }

// Ten readers look all the time while events are appended and the read model is rebuilt again and again.
func TestReadersNeverSeeAGapOrAnOlderState(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w := b.start(tally{}).WaitStarted()
	b.start(tally{}).WaitStarted()
	stop := b.load()
	r := b.watch(10)
	testdb.Eventually(t, patience, "the readers to see something", func() (bool, error) { return b.total() > 100, nil })
	for range 3 {
		before := r.reads.Load()
		require.NoError(t, projection.Rebuild(b.ctx, b.Pool, "p", "", nil))
		testdb.Eventually(t, patience, "the readers to look", func() (bool, error) { return r.reads.Load() > before+100, nil })
	}
	appended := stop()
	testdb.Eventually(t, patience, "all events to be counted", func() (bool, error) { return b.total() == appended, nil })
	r.stop()
	require.Empty(t, r.mistakes())
	require.Zero(t, b.leftovers())
	w.MustStop()
}

// The same readers do see it where the live read model is emptied and filled again, which is what a reset does.
func TestReadersSeeTheGapOfAReset(t *testing.T) {
	t.Parallel()
	b := setup(t)
	p := resettable{tally{}}
	var emptied atomic.Bool
	seen := make(chan struct{})
	p.hook = func(ctx context.Context, _ pgx.Tx, _ event) error {
		if emptied.Load() {
			select {
			case <-seen:
			case <-ctx.Done():
			}
		}
		return nil
	}
	b.append(10, "e1")
	b.start(p).WaitStarted()
	b.countedTo("e1", 10)
	r := b.watch(2)
	testdb.Eventually(t, patience, "the readers to look", func() (bool, error) { return r.reads.Load() > 10, nil })
	emptied.Store(true)
	_, err := projection.Reset(b.ctx, b.Pool, "p", 0, false)
	require.NoError(t, err)
	testdb.Eventually(t, patience, "the readers to see the gap", func() (bool, error) { return len(r.mistakes()) > 0, nil })
	close(seen)
}

// resettable is a tally that can be emptied.
type resettable struct{ tally }

func (resettable) Reset(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, "delete from counts")
	return err
}

// Between the proof that the new read model is not behind and the change, nobody can save, and nobody can write to a table of either.
//
//nolint:paralleltest // it changes a variable of the package
func TestNothingIsSavedBetweenTheProofAndTheChange(t *testing.T) {
	b := setup(t)
	b.append(10, "e")
	b.start(tally{}).WaitStarted()
	b.countedTo("e", 10)
	conn := b.Conn(t)
	tries := map[string]string{
		"a save of the live one": "update projection_checkpoints set last_global_position = last_global_position + 1 where projection_name = 'p'",
		"a save of the new one":  "update projection_checkpoints set last_global_position = last_global_position + 1 where projection_name = 'p@rebuild'",
		"a write":                "update counts set n = n + 1",
		"a read":                 "select * from counts",
		"a change of the number": "update projections set partitions = 64 where projection_name = 'p'",
	}
	var once sync.Once
	through := []string{}
	rebuild.SetProven(func() {
		once.Do(func() {
			for what, sql := range tries {
				if _, err := conn.Exec(b.ctx, "set lock_timeout = '100ms'; "+sql); err == nil {
					through = append(through, what)
				}
			}
		})
	})
	defer rebuild.SetProven(func() {})
	require.NoError(t, projection.Rebuild(b.ctx, b.Pool, "p", "", nil))
	require.Empty(t, through)
	require.EqualValues(t, 10, b.counted("e"))
}
