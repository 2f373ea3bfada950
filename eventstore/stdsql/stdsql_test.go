package stdsql_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/eventstore/stdsql"
	"github.com/rouse-es/rouse/internal/testdb"
)

func TestMain(m *testing.M) { testdb.Main(m) }

// patience bounds everything that a test waits for.
const patience = 2 * time.Minute

type testBundle struct {
	*testdb.DB
	ctx context.Context
	db  *sql.DB
}

// setup opens a database over pgx, with its default mode or another one.
func setup(t *testing.T, mode pgx.QueryExecMode) *testBundle {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	b := &testBundle{DB: testdb.New(t), ctx: ctx}
	config, err := pgx.ParseConfig(b.URL)
	require.NoError(t, err)
	config.DefaultQueryExecMode = mode
	b.db = stdlib.OpenDB(*config)
	t.Cleanup(func() { _ = b.db.Close() })
	return b
}

func (b *testBundle) begin(t *testing.T, isolation sql.IsolationLevel) *sql.Tx {
	t.Helper()
	tx, err := b.db.BeginTx(b.ctx, &sql.TxOptions{Isolation: isolation})
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback() })
	return tx
}

// way is one way of appending, in a transaction of its own.
type way struct {
	begin  func(t *testing.T, isolation string)
	append func(stream eventstore.Stream, expected eventstore.Expected, events ...eventstore.NewEvent) (eventstore.Appended, error)
	read   func(stream eventstore.Stream) ([]eventstore.Event, error)
	exec   func(statement string) error
	commit func() error
}

// direct is pgx itself.
func (b *testBundle) direct() *way {
	direct := &way{}
	var tx pgx.Tx
	direct.begin = func(t *testing.T, isolation string) {
		var err error
		tx, err = b.Pool.BeginTx(b.ctx, pgx.TxOptions{IsoLevel: pgx.TxIsoLevel(isolation)})
		require.NoError(t, err)
		t.Cleanup(func() { _ = tx.Rollback(context.WithoutCancel(b.ctx)) })
	}
	direct.append = func(stream eventstore.Stream, expected eventstore.Expected, events ...eventstore.NewEvent) (eventstore.Appended, error) {
		return eventstore.Append(b.ctx, tx, stream, expected, events...)
	}
	direct.read = func(stream eventstore.Stream) ([]eventstore.Event, error) {
		return eventstore.ReadStream(b.ctx, tx, stream, eventstore.ReadOptions{})
	}
	direct.exec = func(statement string) error { _, err := tx.Exec(b.ctx, statement); return err }
	direct.commit = func() error { return tx.Commit(b.ctx) }
	return direct
}

// standard is database/sql over pgx.
func (b *testBundle) standard() *way {
	standard := &way{}
	var std *sql.Tx
	standard.begin = func(t *testing.T, isolation string) {
		std = b.begin(t, map[string]sql.IsolationLevel{
			"repeatable read": sql.LevelRepeatableRead, "serializable": sql.LevelSerializable,
		}[isolation])
	}
	standard.append = func(stream eventstore.Stream, expected eventstore.Expected, events ...eventstore.NewEvent) (eventstore.Appended, error) {
		return stdsql.Append(b.ctx, std, stream, expected, events...)
	}
	standard.read = func(stream eventstore.Stream) ([]eventstore.Event, error) {
		return stdsql.ReadStream(b.ctx, std, stream, eventstore.ReadOptions{})
	}
	standard.exec = func(statement string) error { _, err := std.ExecContext(b.ctx, statement); return err }
	standard.commit = func() error { return std.Commit() }
	return standard
}

func some(n int) []eventstore.NewEvent {
	events := make([]eventstore.NewEvent, n)
	for i := range events {
		events[i] = eventstore.NewEvent{Type: "Counted", Version: i, Payload: json.RawMessage(fmt.Sprintf(`{"n":  %d, "text": "a\\\"b{,}'é\n"}`, i+1))}
	}
	return events
}

// meaning is what an error says to a program.
func meaning(err error) string {
	if err == nil {
		return "none"
	}
	var all []string
	for _, known := range []struct {
		name string
		err  error
	}{
		{"conflict", eventstore.ErrConflict}, {"duplicate", eventstore.ErrDuplicateID}, {"again", eventstore.ErrRetryTransaction},
		{"no events", eventstore.ErrNoEvents}, {"invalid", eventstore.ErrInvalid}, {"not migrated", eventstore.ErrNotMigrated},
	} {
		if errors.Is(err, known.err) {
			all = append(all, known.name)
		}
	}
	var conflict *eventstore.ConflictError
	if errors.As(err, &conflict) {
		all = append(all, fmt.Sprintf("at %d", conflict.Actual))
	}
	var server *pgconn.PgError
	if errors.As(err, &server) {
		all = append(all, server.Code)
	}
	return strings.Join(all, ", ")
}

// scenario is one append in a transaction. The stream is at version 2 before.
type scenario struct {
	isolation string // "": read committed
	expected  eventstore.Expected
	change    func(events []eventstore.NewEvent) []eventstore.NewEvent
	before    string // a statement in the transaction, before the append
	rival     func(b *testBundle, t *testing.T, stream eventstore.Stream) (commit func())
	want      string // the meaning of its error begins with this
	usable    bool   // whether the transaction is usable behind it
}

// committed, and uncommitted until the append waits for it, are rivals that append version 3 behind the first read of the transaction.
func committed(b *testBundle, t *testing.T, stream eventstore.Stream) func() {
	b.committed(t, stream, some(1)...)
	return nil
}

func uncommitted(b *testBundle, t *testing.T, stream eventstore.Stream) func() {
	tx, err := b.Pool.Begin(b.ctx)
	require.NoError(t, err)
	_, err = eventstore.Append(b.ctx, tx, stream, eventstore.Exact(2), some(1)...)
	require.NoError(t, err)
	return func() {
		testdb.Eventually(t, patience, "an append that waits for the rival", func() (waits bool, err error) {
			err = b.Pool.QueryRow(b.ctx, `select exists (select from pg_stat_activity where datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0)`).Scan(&waits)
			return waits, err
		})
		require.NoError(t, tx.Commit(b.ctx))
	}
}

var knownID = eventstore.NewID()

var scenarios = map[string]scenario{
	"the expected version":            {expected: eventstore.Exact(2), want: "none", usable: true},
	"any version":                     {expected: eventstore.Any(), want: "none", usable: true},
	"another version":                 {expected: eventstore.Exact(1), want: "conflict, at 2", usable: true},
	"a stream that is there":          {expected: eventstore.NoStream(), want: "conflict, at 2", usable: true},
	"a rival was faster":              {expected: eventstore.Exact(2), rival: committed, want: "conflict, at 3", usable: true},
	"a rival is faster":               {expected: eventstore.Exact(2), rival: uncommitted, want: "conflict, at 3", usable: true},
	"any beside a rival":              {expected: eventstore.Any(), rival: uncommitted, want: "none", usable: true},
	"serializable, a rival was there": {isolation: "serializable", expected: eventstore.Exact(2), rival: committed, want: "again"},
	"serializable, a rival is there":  {isolation: "serializable", expected: eventstore.Exact(2), rival: uncommitted, want: "again"},
	"repeatable read, any":            {isolation: "repeatable read", expected: eventstore.Any(), rival: committed, want: "again"},
	"an id that is there": {expected: eventstore.Exact(2), change: func(events []eventstore.NewEvent) []eventstore.NewEvent {
		events[len(events)-1].ID = knownID
		return events
	}, want: "duplicate", usable: true},
	"no events": {expected: eventstore.Any(), change: func([]eventstore.NewEvent) []eventstore.NewEvent { return nil }, want: "no events", usable: true},
	"no JSON": {expected: eventstore.Any(), change: func(events []eventstore.NewEvent) []eventstore.NewEvent {
		events[0].Payload = json.RawMessage(`{`)
		return events
	}, want: "invalid", usable: true},
	"no table":                      {expected: eventstore.Any(), before: "set local search_path = pg_catalog", want: "not migrated, 42P01"},
	"a transaction that has failed": {expected: eventstore.Any(), before: "select 1 / 0", want: "25P02"},
}

// run runs a scenario one way, and returns what its error means.
func (b *testBundle) run(t *testing.T, w *way, s scenario, n int) string {
	t.Helper()
	stream, other := eventstore.Stream{Type: "order", ID: t.Name()}, eventstore.Stream{Type: "other", ID: t.Name()}
	b.committed(t, stream, some(2)...)
	events := some(n)
	if s.change != nil {
		events = s.change(events)
	}
	w.begin(t, s.isolation)
	_, err := w.read(stream) // which is when a transaction of a higher level has its snapshot
	require.NoError(t, err)
	first := int64(3)
	var commit func()
	if s.rival != nil {
		commit = s.rival(b, t, stream)
		first++
	}
	if s.before != "" {
		_ = w.exec(s.before)
	}
	var appended eventstore.Appended
	done := make(chan struct{})
	go func() {
		defer close(done)
		appended, err = w.append(stream, s.expected, events...)
	}()
	if commit != nil {
		commit()
	}
	<-done
	if err == nil {
		require.Equal(t, first, appended.FirstVersion)
		require.Equal(t, first+int64(n)-1, appended.LastVersion)
		require.Len(t, appended.Positions, n)
		require.Len(t, appended.IDs, n)
		stored, err := w.read(stream)
		require.NoError(t, err)
		last := stored[len(stored)-1]
		assert.Equal(t, appended.LastPosition(), last.GlobalPosition)
		assert.Equal(t, appended.IDs[n-1], last.ID)
		assert.Equal(t, appended.Slot, last.Slot)
		assert.Equal(t, max(1, events[n-1].Version), last.Version)
		assert.Equal(t, string(events[n-1].Payload), string(last.Payload), "byte for byte")
	}
	if s.usable {
		_, also := w.append(other, eventstore.NoStream(), some(2)...)
		require.NoError(t, also, "the transaction was not usable any more")
		require.NoError(t, w.commit())
		assert.Equal(t, 2, b.count(t, other))
		want := int(first) - 1
		if err == nil {
			want += n
		}
		assert.Equal(t, want, b.count(t, stream))
	}
	return meaning(err)
}

// Each scenario ends in the same results and errors, whichever way it goes.
func TestAppend_IsThatOfEventstore(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeSimpleProtocol} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			b := setup(t, mode)
			b.committed(t, eventstore.Stream{Type: "known", ID: "1"}, eventstore.NewEvent{ID: knownID, Type: "Known", Payload: json.RawMessage(`{}`)})
			for name, s := range scenarios {
				for _, n := range []int{1, 3} {
					t.Run(fmt.Sprintf("%s/%d events", name, n), func(t *testing.T) {
						var means [2]string
						for i, w := range []*way{b.direct(), b.standard()} {
							t.Run([]string{"pgx", "database/sql"}[i], func(t *testing.T) { means[i] = b.run(t, w, s, n) })
						}
						assert.True(t, strings.HasPrefix(means[0], s.want), means[0])
						assert.Equal(t, means[0], means[1])
					})
				}
			}
		})
	}
}

// committed appends to the end of a stream, and commits.
func (b *testBundle) committed(t *testing.T, stream eventstore.Stream, events ...eventstore.NewEvent) {
	t.Helper()
	require.NoError(t, pgx.BeginFunc(b.ctx, b.Pool, func(tx pgx.Tx) error {
		_, err := eventstore.Append(b.ctx, tx, stream, eventstore.Any(), events...)
		return err
	}))
}

func (b *testBundle) count(t *testing.T, stream eventstore.Stream) (n int) {
	t.Helper()
	require.NoError(t, b.Pool.QueryRow(b.ctx, "select count(*) from events where aggregate_type = $1 and aggregate_id = $2", stream.Type, stream.ID).Scan(&n))
	return n
}

func TestAppend_CommitsOrRollsBackWithTheOtherWrites(t *testing.T) {
	t.Parallel()
	b := setup(t, pgx.QueryExecModeCacheStatement)
	_, err := b.db.ExecContext(b.ctx, "create table orders (id text)")
	require.NoError(t, err)
	stream := eventstore.Stream{Type: "order", ID: "1"}
	ctx := eventstore.WithMetadata(b.ctx, "user", "ann")
	for _, keep := range []bool{false, true} {
		tx := b.begin(t, sql.LevelDefault)
		_, err := tx.ExecContext(b.ctx, "insert into orders values ('1')")
		require.NoError(t, err)
		_, err = stdsql.Append(ctx, tx, stream, eventstore.NoStream(), some(2)...)
		require.NoError(t, err)
		if keep {
			require.NoError(t, tx.Commit())
		} else {
			require.NoError(t, tx.Rollback())
		}
	}
	events, err := stdsql.ReadStream(b.ctx, b.db, stream, eventstore.ReadOptions{})
	require.NoError(t, err)
	direct, err := eventstore.ReadStream(b.ctx, b.Pool, stream, eventstore.ReadOptions{})
	require.NoError(t, err)
	require.Len(t, events, 2)
	assert.Equal(t, direct, events)
	assert.JSONEq(t, `{"user": "ann"}`, string(events[0].Metadata))
	var orders int
	require.NoError(t, b.db.QueryRowContext(b.ctx, "select count(*) from orders").Scan(&orders))
	assert.Equal(t, 1, orders)
}

// wrapped is what some library makes of a pool.
type wrapped struct{ *sql.DB }

func TestAppend_RefusesWhatIsNoTransaction(t *testing.T) {
	t.Parallel()
	b := setup(t, pgx.QueryExecModeCacheStatement)
	conn, err := b.db.Conn(b.ctx)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	for _, none := range []stdsql.Tx{nil, b.db, wrapped{b.db}, conn} {
		_, err := stdsql.Append(b.ctx, none, eventstore.Stream{Type: "order", ID: "1"}, eventstore.Any(), some(1)...)
		require.ErrorIs(t, err, stdsql.ErrNoTransaction)
		assert.ErrorContains(t, err, "give the *sql.Tx of it")
	}
	_, err = stdsql.ReadStream(b.ctx, nil, eventstore.Stream{Type: "order", ID: "1"}, eventstore.ReadOptions{})
	require.Error(t, err)
	tx := b.begin(t, sql.LevelDefault)
	require.NoError(t, tx.Commit())
	_, err = stdsql.Append(b.ctx, tx, eventstore.Stream{Type: "order", ID: "1"}, eventstore.Any(), some(1)...)
	require.ErrorIs(t, err, sql.ErrTxDone)
	var n int
	require.NoError(t, b.Pool.QueryRow(b.ctx, "select count(*) from events").Scan(&n))
	assert.Zero(t, n)
}
