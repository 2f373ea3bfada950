// Package drivers tries what is promised of the libraries that programs reach PostgreSQL through.
package drivers_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "github.com/lib/pq" // the driver "postgres"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"go.uber.org/goleak"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/eventstore/stdsql"
	"github.com/rouse-es/rouse/internal/testdb"
)

// GORM's cache of prepared statements never ends.
func TestMain(m *testing.M) {
	testdb.Main(m, goleak.IgnoreAnyFunction("gorm.io/gorm/internal/lru.NewLRU[...].func1"))
}

// patience bounds everything that a test waits for.
const patience = 2 * time.Minute

type testBundle struct {
	*testdb.DB
	ctx context.Context
}

// order is a row beside the events, as each library writes it.
type order struct {
	bun.BaseModel `bun:"table:orders" gorm:"-"`
	ID            string `bun:"id,pk" gorm:"primaryKey"`
	State         string `bun:"state"`
}

// TableName names the table for GORM.
func (order) TableName() string { return "orders" }

// transactional runs f in a transaction of a library: save writes a row through it, and tx is what its events are appended in.
type transactional func(b *testBundle, isolation sql.IsolationLevel, f func(tx stdsql.Tx, save func(id string) error) error) error

// overSQL is database/sql with one of its drivers.
func overSQL(open func(b *testBundle) (*sql.DB, error)) func(t *testing.T, b *testBundle) transactional {
	return func(t *testing.T, b *testBundle) transactional {
		db, err := open(b)
		require.NoError(t, err)
		t.Cleanup(func() { _ = db.Close() })
		return func(b *testBundle, isolation sql.IsolationLevel, f func(stdsql.Tx, func(string) error) error) error {
			tx, err := db.BeginTx(b.ctx, &sql.TxOptions{Isolation: isolation})
			if err != nil {
				return err
			}
			defer func() { _ = tx.Rollback() }()
			if err := f(tx, func(id string) error {
				_, err := tx.ExecContext(b.ctx, "insert into orders (id, state) values ($1, 'new')", id)
				return err
			}); err != nil {
				return err
			}
			return tx.Commit()
		}
	}
}

func openPgx(b *testBundle) (*sql.DB, error) {
	config, err := pgx.ParseConfig(b.URL)
	if err != nil {
		return nil, err
	}
	return stdlib.OpenDB(*config), nil
}

func overBun(t *testing.T, b *testBundle) transactional {
	std, err := openPgx(b)
	require.NoError(t, err)
	db := bun.NewDB(std, pgdialect.New())
	t.Cleanup(func() { _ = db.Close() })
	return func(b *testBundle, isolation sql.IsolationLevel, f func(stdsql.Tx, func(string) error) error) error {
		return db.RunInTx(b.ctx, &sql.TxOptions{Isolation: isolation}, func(ctx context.Context, tx bun.Tx) error {
			return f(tx.Tx, func(id string) error {
				_, err := tx.NewInsert().Model(&order{ID: id, State: "new"}).Exec(ctx)
				return err
			})
		})
	}
}

func overGORM(prepare bool) func(t *testing.T, b *testBundle) transactional {
	return func(t *testing.T, b *testBundle) transactional {
		std, err := openPgx(b)
		require.NoError(t, err)
		t.Cleanup(func() { _ = std.Close() })
		db, err := gorm.Open(postgres.New(postgres.Config{Conn: std}), &gorm.Config{PrepareStmt: prepare, TranslateError: true, Logger: logger.Discard})
		require.NoError(t, err)
		return func(b *testBundle, isolation sql.IsolationLevel, f func(stdsql.Tx, func(string) error) error) error {
			return db.WithContext(b.ctx).Transaction(func(tx *gorm.DB) error {
				return f(tx.Statement.ConnPool, func(id string) error { return tx.Create(&order{ID: id, State: "new"}).Error })
			}, &sql.TxOptions{Isolation: isolation})
		}
	}
}

var libraries = map[string]func(t *testing.T, b *testBundle) transactional{
	"database/sql and pgx":    overSQL(openPgx),
	"database/sql and lib/pq": overSQL(func(b *testBundle) (*sql.DB, error) { return sql.Open("postgres", b.URL) }),
	"bun":                     overBun,
	"GORM":                    overGORM(false),
	"GORM, prepared":          overGORM(true),
}

// each runs a test with every library, each in a database of its own.
func each(t *testing.T, f func(t *testing.T, b *testBundle, in transactional)) {
	t.Helper()
	for name, open := range libraries {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			t.Cleanup(cancel)
			b := &testBundle{DB: testdb.New(t), ctx: ctx}
			_, err := b.Pool.Exec(ctx, "create table orders (id text primary key, state text not null)")
			require.NoError(t, err)
			f(t, b, open(t, b))
		})
	}
}

var stream = eventstore.Stream{Type: "order", ID: "1"}

func some(n int) []eventstore.NewEvent {
	events := make([]eventstore.NewEvent, n)
	for i := range events {
		events[i] = eventstore.NewEvent{Type: "Placed?", Payload: json.RawMessage("{\"text\":  \"a?\\\\b,{}'é $1\"\n}")}
	}
	return events
}

func (b *testBundle) int(t *testing.T, sql string) (n int) {
	t.Helper()
	require.NoError(t, b.Pool.QueryRow(b.ctx, sql).Scan(&n))
	return n
}

func TestEventsCommitWithTheRowsOfTheLibraryOrNotAtAll(t *testing.T) {
	t.Parallel()
	errNo := errors.New("no")
	each(t, func(t *testing.T, b *testBundle, in transactional) {
		for _, n := range []int{1, 3} {
			for _, refusal := range []error{errNo, nil} {
				err := in(b, sql.LevelDefault, func(tx stdsql.Tx, save func(string) error) error {
					require.NoError(t, save(string(rune('0'+n))))
					appended, err := stdsql.Append(b.ctx, tx, stream, eventstore.Any(), some(n)...)
					require.NoError(t, err)
					require.Len(t, appended.Positions, n)
					return refusal
				})
				require.Equal(t, refusal, err)
			}
		}
		assert.Equal(t, 2, b.int(t, "select count(*) from orders"))
		direct, err := eventstore.ReadStream(b.ctx, b.Pool, stream, eventstore.ReadOptions{})
		require.NoError(t, err)
		require.Len(t, direct, 4)
		assert.Equal(t, string(some(1)[0].Payload), string(direct[3].Payload), "byte for byte")
		require.NoError(t, in(b, sql.LevelDefault, func(tx stdsql.Tx, _ func(string) error) error {
			events, err := stdsql.ReadStream(b.ctx, tx, stream, eventstore.ReadOptions{})
			assert.Equal(t, direct, events)
			return err
		}))
	})
}

func TestErrorsAreThoseOfEventstoreAndLeaveTheTransactionUsable(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *testBundle, in transactional) {
		for _, n := range []int{1, 3} {
			before := b.int(t, "select count(*) from events where aggregate_id = '1'")
			id := eventstore.NewID()
			require.NoError(t, in(b, sql.LevelReadCommitted, func(tx stdsql.Tx, save func(string) error) error {
				_, err := stdsql.Append(b.ctx, tx, stream, eventstore.Exact(7), some(n)...)
				var conflict *eventstore.ConflictError
				require.ErrorAs(t, err, &conflict)
				require.ErrorIs(t, err, eventstore.ErrConflict)
				assert.EqualValues(t, before, conflict.Actual)

				known := some(n)
				known[n-1].ID = id
				_, err = stdsql.Append(b.ctx, tx, eventstore.Stream{Type: "known", ID: id.String()}, eventstore.NoStream(), known...)
				require.NoError(t, err)
				_, err = stdsql.Append(b.ctx, tx, stream, eventstore.Any(), known...)
				require.ErrorIs(t, err, eventstore.ErrDuplicateID)
				_, err = stdsql.Append(b.ctx, tx, stream, eventstore.Any())
				require.ErrorIs(t, err, eventstore.ErrNoEvents)
				return save(id.String())
			}), "the transaction was not usable any more")
			assert.Equal(t, before, b.int(t, "select count(*) from events where aggregate_id = '1'"))

			err := in(b, sql.LevelSerializable, func(tx stdsql.Tx, _ func(string) error) error {
				_, err := stdsql.ReadStream(b.ctx, tx, stream, eventstore.ReadOptions{})
				require.NoError(t, err)
				require.NoError(t, pgx.BeginFunc(b.ctx, b.Pool, func(rival pgx.Tx) error {
					_, err := eventstore.Append(b.ctx, rival, stream, eventstore.Any(), some(1)...)
					return err
				}))
				_, err = stdsql.Append(b.ctx, tx, stream, eventstore.Exact(int64(before)), some(n)...)
				return err
			})
			require.ErrorIs(t, err, eventstore.ErrRetryTransaction)
			require.NotErrorIs(t, err, eventstore.ErrConflict)
		}
	})
}

func TestPoolsOfLibrariesAreRefused(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	b := &testBundle{DB: testdb.New(t), ctx: ctx}
	std, err := openPgx(b)
	require.NoError(t, err)
	t.Cleanup(func() { _ = std.Close() })
	db := bun.NewDB(std, pgdialect.New())
	tx, err := db.BeginTx(ctx, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback() })
	plain, err := gorm.Open(postgres.New(postgres.Config{Conn: std}), &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	prepared, err := gorm.Open(postgres.New(postgres.Config{Conn: std}), &gorm.Config{PrepareStmt: true, Logger: logger.Discard})
	require.NoError(t, err)
	for _, none := range []stdsql.Tx{std, db, tx, plain.Statement.ConnPool, prepared.Statement.ConnPool} {
		_, err := stdsql.Append(ctx, none, stream, eventstore.Any(), some(1)...)
		require.ErrorIs(t, err, stdsql.ErrNoTransaction, "%T", none)
	}
	assert.Zero(t, b.int(t, "select count(*) from events"))
}
