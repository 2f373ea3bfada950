package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse/internal/pgserver"
	"github.com/rouse-es/rouse/migrations"
)

type options struct {
	only    string
	seconds int
	rounds  int
	events  int
	verbose bool
	writers string
	disk    string
}

func main() {
	var o options
	flag.StringVar(&o.only, "only", "", "append or latency; empty: both")
	flag.IntVar(&o.seconds, "seconds", 5, "length of one round of writing")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds of each variant")
	flag.IntVar(&o.events, "events", 600, "events timed for each latency")
	flag.StringVar(&o.writers, "writers", "1,4,16,64", "numbers of writers")
	flag.StringVar(&o.disk, "disk", "", "fast (as it is) or slow (commit_delay); empty: both")
	flag.BoolVar(&o.verbose, "v", false, "log what the worker does")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	server, err := pgserver.Start(ctx, pgserver.Config{Settings: map[string]string{"max_connections": "300"}})
	if err != nil {
		return err
	}
	defer func() {
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		_ = server.Stop(stopCtx)
	}()
	b, err := prepare(ctx, server, o)
	if err != nil {
		return err
	}
	defer b.pool.Close()
	fmt.Printf("%s, fsync on, 32 partitions, one worker\n", b.version)
	if o.only != "latency" {
		if err := b.appends(ctx); err != nil {
			return err
		}
	}
	if o.only != "append" {
		return b.latency(ctx)
	}
	return nil
}

// bench is one database with the schema in it.
type bench struct {
	options
	url, version string
	pool         *pgxpool.Pool
	log          zerolog.Logger
}

func prepare(ctx context.Context, server *pgserver.Server, o options) (*bench, error) {
	if err := server.CreateDatabase(ctx, "bench"); err != nil {
		return nil, err
	}
	b := &bench{options: o, url: server.URL("bench"), log: zerolog.Nop()}
	if o.verbose {
		b.log = zerolog.New(zerolog.ConsoleWriter{Out: os.Stderr}).Level(zerolog.InfoLevel).With().Timestamp().Logger()
	}
	conn, err := pgx.Connect(ctx, b.url)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := migrations.Up(ctx, conn); err != nil {
		return nil, err
	}
	for _, sql := range []string{readModel, floorLog, noisyPush} {
		if _, err := conn.PgConn().Exec(ctx, sql).ReadAll(); err != nil {
			return nil, err
		}
	}
	if err := conn.QueryRow(ctx, "select split_part(version(), ' on ', 1)").Scan(&b.version); err != nil {
		return nil, err
	}
	b.pool, err = pgxpool.New(ctx, b.url)
	return b, err
}
