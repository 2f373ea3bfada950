package testdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/internal/randid"
)

// poolSize is how many connections a test's pool has at most. The server has 200
// for all tests that run at once.
const poolSize = 8

// releaseTimeout is how long the end of a test waits for connections of its pool
// that are still in use, by a goroutine that is about to end for example.
const releaseTimeout = 10 * time.Second

// DB is the database of one test. It is gone after the test.
type DB struct {
	// URL is the address of the database.
	URL string
	// Name is the name of the database.
	Name string
	// Pool has up to 8 connections and is closed at the end of the test.
	Pool *pgxpool.Pool
}

// New returns a database with the current schema.
func New(t testing.TB) *DB {
	t.Helper()
	return onShared(t, func(ctx context.Context, conn *pgx.Conn, name string) error {
		template, err := sharedTemplate()
		if err != nil {
			return err
		}
		return copyTemplate(ctx, conn, template, name)
	})
}

// Empty returns a database without a schema.
func Empty(t testing.TB) *DB {
	t.Helper()
	return onShared(t, emptyDatabase)
}

// On returns a database with the current schema on a server that a test may
// break. It ends with that server.
func On(t testing.TB, server Machine) *DB {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), statementTimeout)
	defer cancel()
	name := databaseName()
	err := server.CreateDatabase(ctx, name)
	if err == nil {
		err = migrate(ctx, server.URL(name))
	}
	if err != nil {
		t.Fatalf("testdb: making a database on a private server: %v", err)
	}
	return open(t, server.URL(name), name)
}

// Conn returns a new connection that is closed at the end of the test.
func (db *DB) Conn(t testing.TB) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), statementTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, db.URL)
	if err != nil {
		t.Fatalf("testdb: connecting: %v", err)
	}
	t.Cleanup(func() { _ = closeConn(conn) }) // the test may have killed it
	return conn
}

// onShared makes a database on the server of all tests and sees to its end.
func onShared(t testing.TB, create func(ctx context.Context, conn *pgx.Conn, name string) error) *DB {
	t.Helper()
	shared.mu.Lock()
	server, err := maintenanceURL()
	shared.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	name := databaseName()
	err = WithConn(context.Background(), server, func(ctx context.Context, conn *pgx.Conn) error {
		return create(ctx, conn, name)
	})
	if err != nil {
		t.Fatalf("testdb: making a database: %v", err)
	}
	t.Cleanup(func() {
		if err := removeDatabase(server, name); err != nil {
			t.Errorf("testdb: removing the database of the test: %v", err)
		}
	})
	address, err := databaseURL(server, name)
	if err != nil {
		t.Fatal(err)
	}
	return open(t, address, name)
}

// sharedTemplate makes the template at the first use.
func sharedTemplate() (string, error) {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.template == "" && shared.err == nil {
		shared.template, shared.err = ensureTemplate(shared.maintenance)
	}
	return shared.template, shared.err
}

// open makes the pool and sees to its end.
func open(t testing.TB, address, name string) *DB {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(address)
	if err != nil {
		t.Fatal("testdb: the address of the database cannot be used for a pool")
	}
	cfg.MaxConns = poolSize
	pool, err := pgxpool.NewWithConfig(context.Background(), cfg)
	if err != nil {
		t.Fatalf("testdb: making a pool: %v", err)
	}
	t.Cleanup(func() { closePool(t, pool, releaseTimeout) })
	return &DB{URL: address, Name: name, Pool: pool}
}

// closePool closes the pool, which waits for connections that are in use. A test
// that has not given one back within the time fails instead of hanging.
func closePool(t testing.TB, pool *pgxpool.Pool, within time.Duration) {
	done := make(chan struct{})
	go func() {
		pool.Close()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(within):
		t.Errorf("testdb: the test has not released %d connections of its pool", pool.Stat().AcquiredConns())
	}
}

// removeDatabase drops the database of a test. Prepared transactions that the
// test left behind would keep it alive, so they are rolled back first.
func removeDatabase(server, name string) error {
	return WithConn(context.Background(), server, func(ctx context.Context, conn *pgx.Conn) error {
		var gids []string
		err := conn.QueryRow(ctx,
			"select coalesce(array_agg(gid), '{}') from pg_prepared_xacts where database = $1", name).Scan(&gids)
		if err != nil {
			return err
		}
		if len(gids) > 0 {
			if err := rollbackPrepared(ctx, server, name, gids); err != nil {
				return err
			}
		}
		return dropDatabase(ctx, conn, name)
	})
}

// rollbackPrepared ends prepared transactions, which is only possible in their
// own database.
func rollbackPrepared(ctx context.Context, server, name string, gids []string) error {
	address, err := databaseURL(server, name)
	if err != nil {
		return err
	}
	return WithConn(ctx, address, func(ctx context.Context, conn *pgx.Conn) error {
		var errs []error
		for _, gid := range gids {
			literal, err := conn.PgConn().EscapeString(gid)
			if err == nil {
				_, err = conn.Exec(ctx, "rollback prepared '"+literal+"'")
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
}

// databaseName is new each time; it names the process, for whoever finds one
// that a killed test left on a shared server.
func databaseName() string {
	return fmt.Sprintf("rouse_test_%d_%s", os.Getpid(), randid.Hex(6))
}
