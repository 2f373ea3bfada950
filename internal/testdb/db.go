package testdb

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/internal/randid"
	"github.com/rouse-es/rouse/internal/scratch"
	"github.com/rouse-es/rouse/migrations"
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

// The templates of the databases of tests.
var (
	current = scratch.Template{Key: "the current schema", Fill: migrate}
	empty   = scratch.Template{Key: "no schema"}
)

// migrate brings the current schema into a database.
func migrate(ctx context.Context, conn *pgx.Conn) error {
	_, err := migrations.Up(ctx, conn)
	return err
}

// New returns a database with the current schema.
func New(t testing.TB) *DB {
	t.Helper()
	return take(t, current)
}

// Empty returns a database without a schema.
func Empty(t testing.TB) *DB {
	t.Helper()
	return take(t, empty)
}

// take returns a copy of a template on the server of all tests, and sees to its end.
func take(t testing.TB, template scratch.Template) *DB {
	t.Helper()
	db, err := scratch.Take(template)
	if err != nil {
		t.Fatalf("testdb: making a database: %v", err)
	}
	t.Cleanup(func() {
		if err := db.Remove(); err != nil {
			t.Errorf("testdb: removing the database of the test: %v", err)
		}
	})
	return open(t, db.URL, db.Name)
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
		err = WithConn(ctx, server.URL(name), migrate)
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

// databaseName is new each time.
func databaseName() string {
	return fmt.Sprintf("rouse_test_%d_%s", os.Getpid(), randid.Hex(6))
}
