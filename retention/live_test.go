package retention_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
	"github.com/rouse-es/rouse/partition"
	operator "github.com/rouse-es/rouse/projection"
	"github.com/rouse-es/rouse/retention"
)

// kept is a projection that notes what it handles, in the order of handling, and can start over.
type kept struct{ name string }

func (k kept) Name() string { return k.name }

func (k kept) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	_, err := tx.Exec(ctx, `insert into done (projection, position, stream, version, payload) values ($1, $2, $3, $4, $5)`,
		k.name, ev.GlobalPosition, ev.AggregateID, ev.AggregateVersion, string(ev.Payload))
	return err
}

func (k kept) Reset(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, "delete from done where projection = $1", k.name)
	return err
}

func (b *bundle) model() {
	b.exec(`create table done (projection text, position bigint, stream text, version bigint, payload text, n bigint generated always as identity)`)
}

// handled is what a projection has made of the events, as one text.
func (b *bundle) handled(name string) (text string) {
	b.t.Helper()
	require.NoError(b.t, b.Pool.QueryRow(b.ctx, `select coalesce(string_agg(format('%s %s %s %s', position, stream, version, payload), E'\n' order by position), '')
		from done where projection = $1`, name).Scan(&text))
	return text
}

func works(names ...string) rouse.Config {
	cfg := rouse.Config{Partitions: 4}
	for _, name := range names {
		cfg.Projections = append(cfg.Projections, kept{name})
	}
	return cfg
}

// writers append from many goroutines until stop is closed, each to streams of its own, and roll some appends back; they return the
// positions of all that was committed. While there are 500 more than were removed they wait, so that workers on a slow machine can follow.
func (b *bundle) writers(n int, removed *atomic.Int64, stop <-chan struct{}) (wait func() map[int64]bool) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	committed := map[int64]bool{}
	room := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return int64(len(committed)) < removed.Load()+500
	}
	for w := range n {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if !room() {
					<-time.After(time.Millisecond)
					continue
				}
				stream := eventstore.Stream{Type: "order", ID: fmt.Sprintf("w%d-%d", w, i%5)}
				var appended eventstore.Appended
				err := pgx.BeginFunc(b.ctx, b.Pool, func(tx pgx.Tx) (err error) {
					appended, err = eventstore.Append(b.ctx, tx, stream, eventstore.Any(), eventstore.NewEvent{Type: "e", Payload: []byte(`{"a": 1}`)},
						eventstore.NewEvent{Type: "e", Payload: []byte("{\n}")})
					if err == nil && i%10 == 9 {
						err = errRolledBack
					}
					return err
				})
				if errors.Is(err, errRolledBack) {
					continue
				}
				if !assert.NoError(b.t, err) {
					return
				}
				mu.Lock()
				for _, position := range appended.Positions {
					committed[position] = true
				}
				mu.Unlock()
			}
		})
	}
	return func() map[int64]bool { wg.Wait(); return committed }
}

var errRolledBack = errors.New("rolled back")

func TestPruneBesideWritersAndWorkersLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.model()
	first := workertest.Start(t, b.Pool, works("p", "q")).WaitStarted()
	second := workertest.Start(t, b.Pool, works("p", "q")).WaitStarted()
	stop := make(chan struct{})
	var removed atomic.Int64
	wait := b.writers(16, &removed, stop)
	for removed.Load() < 1000 {
		require.NoError(t, b.ctx.Err())
		pruned, err := retention.Prune(b.ctx, b.Pool, retention.PruneOptions{Dir: b.dir, Batch: 20, FileEvents: 100})
		require.NoError(t, err)
		removed.Add(pruned.Removed)
	}
	close(stop)
	committed := wait()
	require.NoError(t, first.Drain(b.ctx))
	require.NoError(t, first.Stop())
	require.NoError(t, second.Stop())
	require.NoError(t, workertest.Drain(t, b.Pool, works("p", "q")))
	for _, name := range []string{"p", "q"} {
		require.EqualValues(t, len(committed), b.int("select count(distinct position) from done where projection = $1", name), "none is lost")
		require.EqualValues(t, len(committed), b.int("select count(*) from done where projection = $1", name), "none is doubled")
		require.Zero(t, b.int(`select count(*) from (select version, lag(version) over (partition by stream order by n) as before from done where projection = $1) s
			where version <> coalesce(before, 0) + 1`, name), "each stream in its order")
	}
	live := b.handled("p")

	b.prune(retention.PruneOptions{Batch: 50, FileEvents: 300})
	require.NoError(t, b.resetting("p"), "the log is not whole")
	require.Equal(t, live, b.handled("p"), "refused, and as it was")
	_, err := retention.Restore(b.ctx, b.Pool, b.dir, 0)
	require.NoError(t, err)
	require.Zero(t, b.int("select whole_from from rouse_retention"))
	require.EqualValues(t, len(committed), b.int("select count(*) from events"))
	_, err = operator.Reset(b.ctx, b.Pool, "p", 0, false)
	require.NoError(t, err)
	require.NoError(t, workertest.Drain(t, b.Pool, works("p", "q")))
	require.Equal(t, live, b.handled("p"), "rebuilt over archive and log it is what it was over the log alone")
	require.EqualValues(t, len(committed), b.int("select count(*) from done where projection = 'q'"), "and what was restored is handled by nobody else")
}

// resetting asks for a reset, which must be refused.
func (b *bundle) resetting(name string) error {
	_, err := operator.Reset(b.ctx, b.Pool, name, 0, false)
	if !errors.Is(err, retention.ErrArchived) {
		return fmt.Errorf("a reset to the beginning of half a history: %w", err)
	}
	return nil
}

func TestAProjectionThatWouldBeginInWhatIsArchivedSaysSo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.model()
	b.append(2, 1, 10)
	b.at("old", 20)
	b.prune(retention.PruneOptions{})
	err := workertest.Start(t, b.Pool, works("new")).Wait()
	require.ErrorIs(t, err, retention.ErrArchived)
	for _, part := range []string{"events up to position 19", b.dir, "rouse archive restore", "begin behind position 19"} {
		require.ErrorContains(t, err, part)
	}
	require.Empty(t, b.handled("new"))
	require.Zero(t, b.int("select count(*) from projections where projection_name = 'new'"), "nothing is left of it")

	b.exec("insert into projections (projection_name, partitions) values ('new', 4)")
	for name, sql := range map[string]string{
		"made by hand":     "insert into projection_checkpoints (projection_name, partition, last_global_position) values ('new', 0, 18)",
		"set back by hand": "update projection_checkpoints set last_global_position = 0 where projection_name = 'old'",
	} {
		_, err = b.Pool.Exec(b.ctx, sql)
		require.ErrorContains(t, err, "events up to position 19", name)
	}
	b.exec("insert into projection_checkpoints (projection_name, partition, last_global_position) select 'new', n, 19 from generate_series(0, 3) n")
	require.NoError(t, workertest.Drain(t, b.Pool, rouse.Config{Projections: []rouse.Projection{kept{"new"}}}))
	require.EqualValues(t, 1, b.int("select count(*) from done"), "behind it, what is left is handled")
}

// The naive form looks at the checkpoints once, before it writes the archive, and removes what a projection that was made meanwhile waits for.
func TestAProjectionThatIsMadeWhilePruneRunsKeepsItsEvents(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(2, 1, 10)
	b.at("old", 20)
	meanwhile, err := b.Pool.Begin(b.ctx)
	require.NoError(t, err)
	defer func() { _ = meanwhile.Rollback(context.WithoutCancel(b.ctx)) }()
	_, err = meanwhile.Exec(b.ctx, "insert into projections (projection_name, partitions) values ('new', 1)")
	require.NoError(t, err)
	_, err = partition.EnsureCheckpoints(b.ctx, meanwhile, "new")
	require.NoError(t, err)
	pruned := make(chan error, 1)
	go func() {
		_, err := retention.Prune(b.ctx, b.Pool, retention.PruneOptions{Dir: b.dir})
		pruned <- err
	}()
	testdb.Eventually(t, patience, "the removal to wait for the checkpoint", func() (bool, error) {
		var waits bool
		err := b.Pool.QueryRow(b.ctx, `select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%for update%')`).Scan(&waits)
		return waits, err
	})
	require.NoError(t, meanwhile.Commit(b.ctx))
	err = <-pruned
	require.ErrorIs(t, err, retention.ErrHeld)
	require.ErrorContains(t, err, "new allows no more than up to position 0")
	require.Len(t, b.rows(), 20)
	b.exec("update projection_checkpoints set last_global_position = 20")
	require.EqualValues(t, 18, b.prune(retention.PruneOptions{}).Removed, "the next one goes on with the same file")
	require.EqualValues(t, 1, b.int("select count(*) from rouse_archives"))
}

func TestAProjectionThatIsIgnoredStopsInsteadOfPassingOverEvents(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.model()
	b.append(2, 1, 10)
	var calls atomic.Int64
	gate := make(chan struct{})
	slow := rouse.Config{Partitions: 2, BatchSize: 1, Projections: []rouse.Projection{gated{kept{"slow"}, gate, &calls}}}
	w := workertest.Start(t, b.Pool, slow).WaitStarted()
	testdb.Eventually(t, patience, "the first event to be in hand", func() (bool, error) { return calls.Load() > 0, nil })
	b.at("fast", 20)
	held := b.prune(retention.PruneOptions{})
	require.Zero(t, held.Removed)
	require.Equal(t, "slow", held.Holders[0].Projection)
	_, err := retention.Prune(b.ctx, b.Pool, retention.PruneOptions{Dir: b.dir, Ignore: []string{"slwo"}})
	require.ErrorIs(t, err, retention.ErrIgnored)
	removal := make(chan retention.Pruned, 1)
	go func() {
		pruned, err := retention.Prune(b.ctx, b.Pool, retention.PruneOptions{Dir: b.dir, Ignore: []string{"slow"}})
		assert.NoError(t, err)
		removal <- pruned
	}()
	// The removal takes the partitions away, for which it waits for the save of what is in hand.
	testdb.Eventually(t, patience, "the removal to be done or to wait", func() (bool, error) {
		var yes bool
		err := b.Pool.QueryRow(b.ctx, `select (select whole_from > 0 from rouse_retention) or exists (select from pg_stat_activity
			where datname = current_database() and wait_event_type = 'Lock')`).Scan(&yes)
		return yes, err
	})
	close(gate)
	require.EqualValues(t, 18, (<-removal).Removed)
	err = w.Wait()
	require.ErrorIs(t, err, retention.ErrArchived)
	handled := b.int("select count(*) from done where projection = 'slow'")
	require.Less(t, handled, int64(20))
	require.Zero(t, b.int(`select count(*) from (select version, lag(version) over (partition by stream order by n) as before from done) s
		where version <> coalesce(before, 0) + 1`), "what it has handled is without a hole")
}

// gated waits for its gate at every event.
type gated struct {
	kept
	gate  <-chan struct{}
	calls *atomic.Int64
}

func (g gated) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	g.calls.Add(1)
	select {
	case <-g.gate:
	case <-ctx.Done():
		return ctx.Err()
	}
	return g.kept.Apply(ctx, tx, ev)
}
