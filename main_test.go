package rouse_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
)

func TestMain(m *testing.M) { testdb.Main(m) }

// patience bounds everything that a test waits for. A build that is wrong on purpose shortens it.
var patience = workertest.Patience

// bundle is a database with a table done(projection, position), which nothing keeps from having a row twice.
type bundle struct {
	*testdb.DB
	ctx context.Context
	t   *testing.T
}

func setup(t *testing.T) *bundle {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	t.Cleanup(cancel)
	b := &bundle{DB: testdb.New(t), ctx: ctx, t: t}
	b.exec("create table done (n bigint generated always as identity, projection text not null, position bigint not null)")
	return b
}

func (b *bundle) exec(sql string, args ...any) {
	b.t.Helper()
	_, err := b.Pool.Exec(b.ctx, sql, args...)
	require.NoError(b.t, err)
}

func (b *bundle) int(sql string, args ...any) int64 {
	b.t.Helper()
	var n int64
	require.NoError(b.t, b.Pool.QueryRow(b.ctx, sql, args...).Scan(&n))
	return n
}

// append appends one event to an aggregate of its own, in a transaction of its own, and returns its position.
func (b *bundle) append(eventType string) int64 {
	b.t.Helper()
	return b.int(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		values ('thing', gen_random_uuid(), 1, $1, '{}') returning global_position`, eventType)
}

// appendAll appends in one transaction, so that a worker that runs gets them in one batch, and returns their positions.
func (b *bundle) appendAll(eventTypes ...string) []int64 {
	b.t.Helper()
	rows, err := b.Pool.Query(b.ctx, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 'thing', gen_random_uuid(), 1, t, '{}' from unnest($1::text[]) with ordinality as u (t, n) order by n
		returning global_position`, eventTypes)
	require.NoError(b.t, err)
	positions, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	require.NoError(b.t, err)
	return positions
}

// done are the positions that a projection has handled, in the order in which it did.
func (b *bundle) done(projection string) []int64 {
	b.t.Helper()
	rows, err := b.Pool.Query(b.ctx, "select position from done where projection = $1 order by n", projection)
	require.NoError(b.t, err)
	positions, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	require.NoError(b.t, err)
	return positions
}

// pool opens another pool, whose connections send statements in a mode.
func (b *bundle) pool(mode pgx.QueryExecMode) *pgxpool.Pool {
	b.t.Helper()
	cfg, err := pgxpool.ParseConfig(b.URL)
	require.NoError(b.t, err)
	cfg.ConnConfig.DefaultQueryExecMode = mode
	cfg.MaxConns = 6
	pool, err := pgxpool.NewWithConfig(b.ctx, cfg)
	require.NoError(b.t, err)
	b.t.Cleanup(pool.Close)
	return pool
}

const doneSQL = "insert into done (projection, position) values ($1, $2)"

// projection does what its hook says and writes down what it has done.
type projection struct {
	name string
	hook func(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error
}

func (p projection) Name() string { return p.name }

func (p projection) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	if p.hook != nil {
		if err := p.hook(ctx, tx, ev); err != nil {
			return err
		}
	}
	_, err := tx.Exec(ctx, doneSQL, p.name, ev.GlobalPosition)
	return err
}

// batched is a projection in the batch form too. queue, if there is one, is called for every event.
type batched struct {
	projection
	queue func(batch *pgx.Batch, ev eventstore.Event) error
}

func (p batched) ApplyBatch(_ context.Context, batch *pgx.Batch, events []eventstore.Event) error {
	for _, ev := range events {
		if p.queue != nil {
			if err := p.queue(batch, ev); err != nil {
				return err
			}
		}
		batch.Queue(doneSQL, p.name, ev.GlobalPosition)
	}
	return nil
}

// running is a worker that runs until it is stopped, or the test ends.
type running = workertest.Worker

func (b *bundle) start(pool *pgxpool.Pool, cfg rouse.Config) *running {
	b.t.Helper()
	return workertest.Start(b.t, pool, cfg)
}

// drain runs a fresh worker until everything is handled and returns what Drain returned.
func (b *bundle) drain(pool *pgxpool.Pool, cfg rouse.Config) error {
	b.t.Helper()
	return workertest.Drain(b.t, pool, cfg)
}
