// Package setup is what the examples have in common: which database they use, how they open it, and how they end. It holds
// nothing of what they show.
package setup

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/internal/signal"
	"github.com/rouse-es/rouse/migrations"
)

// DefaultURL is the database of the examples where neither DATABASE_URL nor one of PostgreSQL's own variables names another.
const DefaultURL = "postgres://postgres:postgres@localhost:5432/pupsourcing_example?sslmode=disable"

const (
	connectTimeout = 5 * time.Second

	// poolSize is for up to four workers of one projection in one process, and a few statements beside them.
	poolSize = 16
)

// locating are the variables of PostgreSQL that say which database is meant.
var locating = []string{"PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGPASSFILE", "PGSERVICE", "PGSERVICEFILE"}

// Main runs an example and ends the process: with status 0, or with one sentence on stderr and status 1. The first SIGINT or
// SIGTERM (Ctrl+C) ends ctx, which is no error; a second one ends the process at once.
func Main(example func(ctx context.Context) error) {
	ctx, stop := signal.Context(context.Background())
	err := example(ctx)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil // it was told to stop
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, explain(err))
		os.Exit(1)
	}
}

// Open opens the database, proves that it has the schema of Rouse, and creates the read model of the example with the given
// statements, which must be able to run again. Any number of processes may do this at once. The caller closes the pool.
func Open(ctx context.Context, readModel string) (*pgxpool.Pool, error) {
	ctx, cancel := context.WithTimeout(ctx, migrations.Timeout)
	defer cancel()
	cfg, err := Config()
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err = migrations.Check(ctx, pool); err == nil {
		err = create(ctx, pool, readModel)
	}
	if err != nil {
		pool.Close()
		return nil, err
	}
	return pool, nil
}

// create runs statements under the lock of the migrations, because two processes that create one table at once disturb each
// other even with "if not exists".
func create(ctx context.Context, pool *pgxpool.Pool, statements string) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	return migrations.Locked(ctx, conn.Conn(), func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, statements); err != nil {
			return fmt.Errorf("create the read model: %w", err)
		}
		return nil
	})
}

// Config is how the examples connect. It says so on stderr if that is the default.
func Config() (*pgxpool.Config, error) {
	cfg, isDefault, err := config()
	if err == nil && isDefault {
		fmt.Fprintf(os.Stderr, "DATABASE_URL is not set: using the database %s on %s\n", cfg.ConnConfig.Database, where(cfg.ConnConfig))
	}
	return cfg, err
}

func config() (cfg *pgxpool.Config, isDefault bool, err error) {
	url := os.Getenv("DATABASE_URL")
	isDefault = url == ""
	for _, variable := range locating {
		isDefault = isDefault && os.Getenv(variable) == ""
	}
	if isDefault {
		url = DefaultURL
	}
	cfg, err = pgxpool.ParseConfig(url)
	if err != nil {
		return nil, false, errAddress // the cause quotes the address, which may hold a password
	}
	cfg.MaxConns = max(cfg.MaxConns, poolSize)
	if cfg.ConnConfig.ConnectTimeout == 0 {
		cfg.ConnConfig.ConnectTimeout = connectTimeout
	}
	return cfg, isDefault, nil
}

// where is the server, for people: host and port, no role and no password.
func where(cfg *pgx.ConnConfig) string {
	if strings.HasPrefix(cfg.Host, "/") {
		return cfg.Host
	}
	return net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port)))
}
