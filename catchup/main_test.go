package catchup_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/internal/randid"
	"github.com/rouse-es/rouse/internal/testdb"
)

func TestMain(m *testing.M) { testdb.Main(m) }

// patience bounds everything that a test waits for.
const patience = 3 * time.Minute

// modes are the ways in which pgx sends a statement. The last two are those that work through a transaction pooler.
var modes = []pgx.QueryExecMode{
	pgx.QueryExecModeCacheStatement,
	pgx.QueryExecModeCacheDescribe,
	pgx.QueryExecModeExec,
	pgx.QueryExecModeSimpleProtocol,
}

type bundle struct {
	*testdb.DB
	ctx   context.Context
	t     *testing.T
	log   catchup.Log
	token catchup.Token
}

func setup(t *testing.T) *bundle {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	t.Cleanup(cancel)
	b := &bundle{DB: testdb.New(t), ctx: ctx, t: t}
	var err error
	b.log, err = catchup.Open(ctx, b.Pool)
	require.NoError(t, err)
	b.token, err = catchup.CurrentToken(ctx, b.Pool)
	require.NoError(t, err)
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

// begin opens a transaction on a connection of its own.
func (b *bundle) begin(level pgx.TxIsoLevel) pgx.Tx {
	b.t.Helper()
	tx, err := b.Conn(b.t).BeginTx(b.ctx, pgx.TxOptions{IsoLevel: level})
	require.NoError(b.t, err)
	return tx
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// append appends events to aggregates of their own and returns their positions.
func (b *bundle) append(q querier, n int) []int64 {
	b.t.Helper()
	rows, err := q.Query(b.ctx, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 'thing', gen_random_uuid(), 1, 'e', '{}' from generate_series(1, $1::int) returning global_position`, n)
	require.NoError(b.t, err)
	return b.positions(rows)
}

func (b *bundle) positions(rows pgx.Rows) []int64 {
	b.t.Helper()
	positions, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	require.NoError(b.t, err)
	return positions
}

// allSlots reads everything without a test of slots; everySlot is the same set made of partitions, for the filtered read.
func allSlots() catchup.SlotSet { return catchup.SlotsOf([]int{0}, 1) }

// reader reads all slots, after a position.
func (b *bundle) reader(pool *pgxpool.Pool, after int64) *catchup.Reader {
	return catchup.NewReader(pool, b.log, b.token, allSlots(), after)
}

// next reads once and returns the positions found.
func (b *bundle) next(r *catchup.Reader, limit int) ([]int64, catchup.Batch) {
	b.t.Helper()
	batch, err := r.Next(b.ctx, limit)
	require.NoError(b.t, err)
	positions := []int64{}
	for _, ev := range batch.Events {
		positions = append(positions, ev.GlobalPosition)
	}
	return positions, batch
}

// pool opens another pool with at most n connections, whose connections send statements in a mode.
func (b *bundle) pool(mode pgx.QueryExecMode, n int32, change func(cfg *pgxpool.Config)) *pgxpool.Pool {
	b.t.Helper()
	cfg, err := pgxpool.ParseConfig(b.URL)
	require.NoError(b.t, err)
	cfg.ConnConfig.DefaultQueryExecMode = mode
	cfg.MaxConns = n
	if change != nil {
		change(cfg)
	}
	pool, err := pgxpool.NewWithConfig(b.ctx, cfg)
	require.NoError(b.t, err)
	b.t.Cleanup(pool.Close)
	return pool
}

// reopen looks at the log once more, as a session does that starts over.
func (b *bundle) reopen() (err error) {
	b.log, err = catchup.Open(b.ctx, b.Pool)
	return err
}

// role opens a pool of a role that is not the owner of the tables, and may read them.
func (b *bundle) role() *pgxpool.Pool {
	b.t.Helper()
	name := "reader_" + randid.Hex(6)
	b.exec(`create role ` + name + ` login password '` + testdb.Password + `'`)
	b.exec(`grant select on all tables in schema public to ` + name)
	b.exec(`grant select on all sequences in schema public to ` + name)
	b.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, err := b.Pool.Exec(ctx, "drop owned by "+name+"; drop role "+name)
		require.NoError(b.t, err)
	})
	return b.pool(pgx.QueryExecModeCacheStatement, 4, func(cfg *pgxpool.Config) {
		cfg.ConnConfig.User, cfg.ConnConfig.Password = name, testdb.Password
	})
}
