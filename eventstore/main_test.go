package eventstore_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
)

func TestMain(m *testing.M) { testdb.Main(m) }

// patience bounds everything that a test waits for.
const patience = 2 * time.Minute

// order is a stream for tests that have their database to themselves.
var order = eventstore.Stream{Type: "order", ID: "1"}

// streamOf is a stream for one of the tests that share a database.
func streamOf(t *testing.T) eventstore.Stream {
	return eventstore.Stream{Type: "order", ID: t.Name()}
}

// modes are the ways in which pgx sends a statement. The last two are those that work through a transaction pooler.
var modes = []pgx.QueryExecMode{
	pgx.QueryExecModeCacheStatement,
	pgx.QueryExecModeCacheDescribe,
	pgx.QueryExecModeExec,
	pgx.QueryExecModeSimpleProtocol,
}

type testBundle struct {
	*testdb.DB
	ctx context.Context
}

func setup(t *testing.T) *testBundle {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return &testBundle{DB: testdb.New(t), ctx: ctx}
}

// pool opens a second pool whose connections use the given mode.
func (b *testBundle) pool(t *testing.T, mode pgx.QueryExecMode) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(b.URL)
	require.NoError(t, err)
	config.ConnConfig.DefaultQueryExecMode = mode
	pool, err := pgxpool.NewWithConfig(b.ctx, config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return pool
}

// begin opens a transaction that is rolled back at the end of the test, unless the test has ended it.
func (b *testBundle) begin(t *testing.T, pool *pgxpool.Pool, isolation pgx.TxIsoLevel) pgx.Tx {
	t.Helper()
	tx, err := pool.BeginTx(b.ctx, pgx.TxOptions{IsoLevel: isolation})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = tx.Rollback(ctx)
	})
	return tx
}

// append appends in a transaction of its own and commits.
func (b *testBundle) append(t *testing.T, stream eventstore.Stream, expected eventstore.Expected, events ...eventstore.NewEvent) eventstore.Appended {
	t.Helper()
	var out eventstore.Appended
	err := pgx.BeginFunc(b.ctx, b.Pool, func(tx pgx.Tx) (err error) {
		out, err = eventstore.Append(b.ctx, tx, stream, expected, events...)
		return err
	})
	require.NoError(t, err)
	return out
}

// version is the version of a stream, and the number of its events, as the pool sees them: equal, if there is no hole.
func (b *testBundle) version(t *testing.T, stream eventstore.Stream) int64 {
	t.Helper()
	var version, count int64
	err := b.Pool.QueryRow(b.ctx, `select coalesce(max(aggregate_version), 0), count(*) from events
		where aggregate_type = $1 and aggregate_id = $2`, stream.Type, stream.ID).Scan(&version, &count)
	require.NoError(t, err)
	require.Equal(t, version, count, "the versions of %s have holes", stream)
	return version
}

// insertSQL is how a program that knows nothing of this package appends.
const insertSQL = `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
	values ($1, $2, $3, 'PlainSQL', '{}')`

// waitBlocked returns once the server says that the backend waits for another.
func (b *testBundle) waitBlocked(t *testing.T, pid uint32) {
	t.Helper()
	testdb.Eventually(t, patience, "a backend that has to wait for another", func() (blocked bool, err error) {
		err = b.Pool.QueryRow(b.ctx, `select cardinality(pg_blocking_pids($1)) > 0`, int32(pid)).Scan(&blocked)
		return blocked, err
	})
}

// outcome is what an Append in the background came to.
type outcome struct {
	appended eventstore.Appended
	err      error
}

// appendBlocked starts an Append that has to wait for a transaction which the caller holds open, and returns when it
// does.
func (b *testBundle) appendBlocked(t *testing.T, tx pgx.Tx, stream eventstore.Stream, expected eventstore.Expected, events ...eventstore.NewEvent) <-chan outcome {
	t.Helper()
	done := make(chan outcome, 1) // so that the goroutine ends even if the test has failed
	pid := tx.Conn().PgConn().PID()
	go func() {
		appended, err := eventstore.Append(b.ctx, tx, stream, expected, events...)
		done <- outcome{appended, err}
	}()
	b.waitBlocked(t, pid)
	return done
}

// some returns n events.
func some(n int) []eventstore.NewEvent {
	events := make([]eventstore.NewEvent, n)
	for i := range events {
		events[i] = eventstore.NewEvent{Type: "Counted", Payload: json.RawMessage(fmt.Sprintf(`{"n": %d}`, i+1))}
	}
	return events
}

// oneAndMany runs a test with one event, which is sent without a savepoint, and with three, at the same time.
func oneAndMany(t *testing.T, f func(t *testing.T, n int)) {
	t.Helper()
	oneThenMany(t, func(t *testing.T, n int) {
		t.Parallel()
		f(t, n)
	})
}

// oneThenMany is oneAndMany one after the other. Tests of serializable transactions need that: the server ends one of two
// that go on at the same time in small tables, whatever they do there.
func oneThenMany(t *testing.T, f func(t *testing.T, n int)) {
	t.Helper()
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d events", n), func(t *testing.T) { f(t, n) })
	}
}
