package rousetest

import (
	"context"
	"crypto/sha256"
	_ "embed" // the statements
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/internal/scratch"
	"github.com/rouse-es/rouse/internal/script"
	"github.com/rouse-es/rouse/migrations"
)

//go:embed sql/clock.sql
var clockSQL string

const (
	// patience bounds everything that a test waits for.
	patience = 30 * time.Second

	// poolSize is for workers of some projections; connections are opened when they are used.
	poolSize = 20
)

// Config says what a database has besides the schema of Rouse. The zero value is usable.
type Config struct {
	// Migrations are the files of the program whose names end with .sql, in whatever folder, which run in the order of their names, as
	// with the Migrations of app.Config. Nil: none.
	Migrations fs.FS

	// SQL are statements that run after them, such as those that create the read model. "": none.
	SQL string
}

// DB is a database with the schema of Rouse, for one test. Its methods that take a test fail it where something goes wrong.
type DB struct {
	// Pool has up to 20 connections, which are opened when they are used.
	Pool *pgxpool.Pool

	// URL is the address of the database, for programs that a test starts. It may hold a password.
	URL string

	taken *scratch.Database
}

// New returns a database, which is gone after the test. It may be called by parallel tests, and several times by one. The first call
// of a process takes as long as the migrations, and as the start of the server where it is a private one.
func New(t testing.TB, cfg Config) *DB {
	t.Helper()
	db, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// Open is New where there is no test, such as in an Example function or in TestMain. The caller closes the database.
func Open(cfg Config) (*DB, error) {
	template, err := cfg.template()
	if err != nil {
		return nil, err
	}
	taken, err := scratch.Take(template)
	if err != nil {
		return nil, fmt.Errorf("rousetest: %w", err)
	}
	poolCfg, err := pgxpool.ParseConfig(taken.URL)
	if err != nil {
		return nil, errors.New("rousetest: the address of the database cannot be used for a pool") // the cause may hold a password
	}
	poolCfg.MaxConns = poolSize
	pool, err := pgxpool.NewWithConfig(context.Background(), poolCfg)
	if err != nil {
		return nil, fmt.Errorf("rousetest: %w", err)
	}
	return &DB{Pool: pool, URL: taken.URL, taken: taken}, nil
}

// Close closes the pool and gives the database up. An error means that connections of the pool were still in use 10 seconds later.
func (db *DB) Close() error {
	closed := make(chan struct{})
	go func() { // ends when the last connection is released
		db.Pool.Close()
		close(closed)
	}()
	defer db.taken.Drop()
	select {
	case <-closed:
		return nil
	case <-time.After(10 * time.Second):
		return fmt.Errorf("rousetest: %d connections of the pool are still in use (close rows, end transactions, stop workers)",
			db.Pool.Stat().AcquiredConns())
	}
}

// Stop drops what this process still has of databases, and ends a private server. Both are gone some time after the process in any
// case: call it in TestMain where something looks for goroutines or processes that are left.
func Stop() error {
	if err := scratch.Stop(); err != nil {
		return fmt.Errorf("rousetest: %w", err)
	}
	return nil
}

// template returns what databases of c are copies of.
func (c Config) template() (scratch.Template, error) {
	own, err := script.Load(c.Migrations)
	if err == nil && c.Migrations != nil && len(own) == 0 {
		err = errors.New("it has no file that ends with .sql")
	}
	if err != nil {
		return scratch.Template{}, fmt.Errorf("rousetest: Config.Migrations: %w", err)
	}
	key := sha256.New()
	if err := migrations.Print(key); err != nil {
		return scratch.Template{}, fmt.Errorf("rousetest: %w", err)
	}
	for _, s := range own {
		key.Write([]byte("\n-- " + s.Name + " " + s.Checksum))
	}
	key.Write([]byte("\n-- " + c.SQL))
	return scratch.Template{Key: hex.EncodeToString(key.Sum(nil)), Fill: func(ctx context.Context, conn *pgx.Conn) error {
		if _, err := migrations.Up(ctx, conn); err != nil {
			return err
		}
		if _, err := conn.PgConn().Exec(ctx, clockSQL).ReadAll(); err != nil {
			return err
		}
		if _, err := own.Up(ctx, conn); err != nil {
			return err
		}
		if _, err := conn.PgConn().Exec(ctx, c.SQL).ReadAll(); err != nil {
			return fmt.Errorf("Config.SQL: %w", err)
		}
		return nil
	}}, nil
}
