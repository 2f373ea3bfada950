package integration_test

import (
	"context"
	"fmt"
	"strings"
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
	"github.com/rouse-es/rouse/internal/workertest"
)

// patience bounds everything that a test waits for.
var patience = workertest.Patience

// stage is a database with a table that projections write down in what they get.
type stage struct {
	*testdb.DB
	ctx context.Context
	t   *testing.T
}

// newStage makes the table of the recorders. No constraint keeps a row out, so that a double shows.
func newStage(t *testing.T, db *testdb.DB) *stage {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*patience)
	t.Cleanup(cancel)
	s := &stage{DB: db, ctx: ctx, t: t}
	s.exec(`create table seen (
		n bigint generated always as identity primary key, projection text not null, worker text not null,
		event_id uuid not null, global_position bigint not null,
		aggregate_type text not null, aggregate_id text not null, aggregate_version bigint not null,
		at timestamptz not null default clock_timestamp())`)
	return s
}

func (s *stage) exec(sql string, args ...any) {
	s.t.Helper()
	_, err := s.Pool.Exec(s.ctx, sql, args...)
	require.NoError(s.t, err)
}

// int is the one number that a query returns.
func (s *stage) int(sql string, args ...any) int64 {
	s.t.Helper()
	var n int64
	require.NoError(s.t, s.Pool.QueryRow(s.ctx, sql, args...).Scan(&n))
	return n
}

// text is the one text that a query returns.
func (s *stage) text(sql string, args ...any) string {
	s.t.Helper()
	var text string
	require.NoError(s.t, s.Pool.QueryRow(s.ctx, sql, args...).Scan(&text))
	return text
}

// eventually waits until a query returns true.
func (s *stage) eventually(within time.Duration, what, sql string, args ...any) {
	s.t.Helper()
	testdb.Eventually(s.t, within, what, func() (bool, error) {
		ctx, cancel := context.WithTimeout(s.ctx, 5*time.Second)
		defer cancel()
		var ok bool
		err := s.Pool.QueryRow(ctx, sql, args...).Scan(&ok)
		return ok, err
	})
}

// appendSQL is how a program that knows nothing of Rouse appends: $2 events at the end of aggregate $1.
const appendSQL = `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
	select 'thing', $1, (select coalesce(max(aggregate_version), 0) from events where aggregate_type = 'thing' and aggregate_id = $1) + n,
	       'happened', '{}'
	from generate_series(1, $2::int) n order by n
	returning global_position`

// querier is a pool, a connection or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// append appends one event and returns its position.
func (s *stage) append(q querier, aggregate string) int64 {
	s.t.Helper()
	var position int64
	require.NoError(s.t, q.QueryRow(s.ctx, appendSQL, aggregate, 1).Scan(&position))
	return position
}

// open begins an append on a connection of its own that stays open until it is committed or rolled back.
func (s *stage) open(aggregate string) (pgx.Tx, int64) {
	s.t.Helper()
	tx, err := s.Conn(s.t).Begin(s.ctx)
	require.NoError(s.t, err)
	return tx, s.append(tx, aggregate)
}

// aggregateIn finds the name of an aggregate whose events fall into a partition.
func (s *stage) aggregateIn(partition, partitions int) string {
	s.t.Helper()
	var name string
	err := s.Pool.QueryRow(s.ctx, `select 'a' || i from generate_series(1, 100000) i
		where (hashtextextended(('a' || i) collate "C", 0) & 1023) & ($2::int - 1) = $1::int limit 1`, partition, partitions).Scan(&name)
	require.NoError(s.t, err)
	return name
}

// recorder is a projection that writes down every event it gets. hook, if there is one, is called before.
type recorder struct {
	name, worker string
	hook         func(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error
}

const recordSQL = `insert into seen (projection, worker, event_id, global_position, aggregate_type, aggregate_id, aggregate_version)
	values ($1, $2, $3::text::uuid, $4, $5, $6, $7)`

func (r recorder) Name() string { return r.name }

func (r recorder) args(ev eventstore.Event) []any {
	return []any{r.name, r.worker, ev.ID.String(), ev.GlobalPosition, ev.AggregateType, ev.AggregateID, ev.AggregateVersion}
}

func (r recorder) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	if r.hook != nil {
		if err := r.hook(ctx, tx, ev); err != nil {
			return err
		}
	}
	_, err := tx.Exec(ctx, recordSQL, r.args(ev)...)
	return err
}

// batchRecorder is a recorder in the batch form.
type batchRecorder struct{ recorder }

func (r batchRecorder) ApplyBatch(_ context.Context, batch *pgx.Batch, events []eventstore.Event) error {
	for _, ev := range events {
		batch.Queue(recordSQL, r.args(ev)...)
	}
	return nil
}

// faults counts what must not be there of a projection: events without a row, events with two, rows without an event, rows
// of an aggregate that are out of order.
const faultsSQL = `select
	(select count(*) from events e where not exists (select from seen s where s.projection = $1 and s.event_id = e.event_id)),
	(select count(*) from (select from seen where projection = $1 group by event_id having count(*) > 1) d),
	(select count(*) from seen s where s.projection = $1 and not exists (
		select from events e where e.event_id = s.event_id and e.global_position = s.global_position)),
	(select count(*) from (
		select aggregate_version - lag(aggregate_version, 1, 0::bigint)
			over (partition by aggregate_type, aggregate_id order by n) as step
		from seen where projection = $1) o where step <> 1)`

type faults struct{ Lost, Doubled, Phantom, Reordered int64 }

func (s *stage) faults(projection string) faults {
	s.t.Helper()
	var f faults
	require.NoError(s.t, s.Pool.QueryRow(s.ctx, faultsSQL, projection).Scan(&f.Lost, &f.Doubled, &f.Phantom, &f.Reordered))
	return f
}

// exact waits until a projection has come to the last event in all its partitions, and says that each event was handled once
// and in order.
func (s *stage) exact(projection string) {
	s.t.Helper()
	s.caughtUp(projection, patience)
	require.Equal(s.t, faults{}, s.faults(projection))
}

// caughtUp waits until all checkpoints are at the last event.
func (s *stage) caughtUp(projection string, within time.Duration) {
	s.t.Helper()
	s.eventually(within, projection+" to reach the last event in all partitions",
		`select bool_and(last_global_position = (select max(global_position) from events))
		 from projection_checkpoints where projection_name = $1`, projection)
}

// running is a worker that runs.
type running = workertest.Worker

// start runs a worker until it is stopped, or the end of the test.
func (s *stage) start(pool *pgxpool.Pool, cfg rouse.Config) *running {
	s.t.Helper()
	return workertest.Start(s.t, pool, cfg)
}

// pool opens another pool to the same database, as another process would.
func (s *stage) pool(url string) *pgxpool.Pool {
	s.t.Helper()
	pool, _ := s.watchedPool(url)
	return pool
}

// watchedPool is a pool that counts the reads of the log that are done through it.
func (s *stage) watchedPool(url string, change ...func(*pgxpool.Config)) (*pgxpool.Pool, *reads) {
	s.t.Helper()
	cfg, err := pgxpool.ParseConfig(url)
	require.NoError(s.t, err)
	cfg.MaxConns = 6
	watch := &reads{}
	cfg.ConnConfig.Tracer = watch
	for _, f := range change {
		f(cfg)
	}
	pool, err := pgxpool.NewWithConfig(s.ctx, cfg)
	require.NoError(s.t, err)
	s.t.Cleanup(pool.Close)
	return pool, watch
}

// reads counts the looks at the log that have ended on the connections of a pool: reads, and peeks of a reader that has read
// everything.
type reads struct{ n atomic.Int64 }

type isRead struct{}

func (*reads) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	if strings.HasPrefix(data.SQL, "-- First of ") {
		return context.WithValue(ctx, isRead{}, true)
	}
	return ctx
}

func (r *reads) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryEndData) {
	if ctx.Value(isRead{}) != nil {
		r.n.Add(1)
	}
}

func (*reads) TraceBatchStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	for _, q := range data.Batch.QueuedQueries {
		if strings.HasPrefix(q.SQL, "-- First of ") {
			return context.WithValue(ctx, isRead{}, true)
		}
	}
	return ctx
}
func (*reads) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

func (r *reads) TraceBatchEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchEndData) {
	if ctx.Value(isRead{}) != nil {
		r.n.Add(1)
	}
}

// again waits until a read that has begun after the call is over, and what it found is in the handler's hands or handled.
func (r *reads) again(t *testing.T) {
	t.Helper()
	from := r.n.Load()
	testdb.Eventually(t, patience, "more reads of the log", func() (bool, error) { return r.n.Load() >= from+3, nil })
}

// load is a set of writers, each with aggregates of its own, that go on through every failure of the server.
type load struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex // protects acked
	acked []int64    // positions of events whose commit was acknowledged
}

// startLoad starts writers that append 1 to 3 events at a time, some of them slow to commit and some rolled back.
func (s *stage) startLoad(pool *pgxpool.Pool, writers int, pause time.Duration) *load {
	ctx, cancel := context.WithCancel(s.ctx)
	l := &load{cancel: cancel}
	for i := range writers {
		l.wg.Go(func() { l.write(ctx, pool, i, pause) })
	}
	s.t.Cleanup(l.stop)
	return l
}

func (l *load) stop() {
	l.cancel()
	l.wg.Wait()
}

func (l *load) write(ctx context.Context, pool *pgxpool.Pool, writer int, pause time.Duration) {
	for n := 0; ctx.Err() == nil; n++ {
		positions, err := l.once(ctx, pool, fmt.Sprintf("w%d-%d", writer, n%5), n)
		wait := pause
		if err != nil {
			wait = max(pause, 20*time.Millisecond) // the server is away
		} else {
			l.mu.Lock()
			l.acked = append(l.acked, positions...)
			l.mu.Unlock()
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// once appends in one transaction. Every tenth is rolled back, and every seventh stays open for a while.
func (l *load) once(ctx context.Context, pool *pgxpool.Pool, aggregate string, n int) ([]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tx, err := pool.Begin(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	rows, err := tx.Query(ctx, appendSQL, aggregate, 1+n%3)
	if err != nil {
		return nil, err
	}
	positions, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, err
	}
	if n%7 == 6 {
		select {
		case <-ctx.Done():
		case <-time.After(15 * time.Millisecond):
		}
	}
	if n%10 == 9 {
		return nil, tx.Rollback(ctx)
	}
	return positions, tx.Commit(ctx)
}

// committed is how many events were acknowledged so far.
func (l *load) committed() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// more waits until so many more events were acknowledged.
func (l *load) more(t *testing.T, n int) {
	t.Helper()
	from := l.committed()
	testdb.Eventually(t, patience, "writers to get on", func() (bool, error) { return l.committed() >= from+n, nil })
}
