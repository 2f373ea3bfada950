// Command compare gives the same work to Rouse, watermill-sql, River and a naive worker on a PostgreSQL server of its own, and prints
// what it measured as JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/rouse-es/rouse/bench/compare"
	"github.com/rouse-es/rouse/internal/pgserver"
)

func main() {
	o := compare.Options{Log: func(line string) { fmt.Fprintln(os.Stderr, line) }}
	flag.IntVar(&o.Rounds, "rounds", 3, "rounds of everything")
	flag.Int64Var(&o.Events, "events", 1_000_000, "events of the history that is worked through without a handler")
	flag.IntVar(&o.Idle, "catchup-rounds", 1, "how many of the rounds have that part, which takes long")
	flag.Int64Var(&o.Upserts, "upserts", 50_000, "events of it that are worked through with an upsert for each")
	flag.IntVar(&o.Timed, "timed", 200, "events of each side and round that are timed one by one")
	flag.DurationVar(&o.Pause, "pause", 20*time.Millisecond, "pause between two of these")
	flag.IntVar(&o.Writers, "writers", 16, "writers that append at once")
	flag.DurationVar(&o.Length, "length", 3*time.Second, "how long they do")
	flag.IntVar(&o.Tuning.Batch, "watermill-batch", 50_000, "messages that watermill-sql reads at once")
	flag.DurationVar(&o.Tuning.Poll, "watermill-poll", 10*time.Millisecond, "how long watermill-sql sleeps when there is nothing")
	flag.IntVar(&o.River.Workers, "river-workers", 100, "jobs that River works at once")
	flag.DurationVar(&o.River.Cooldown, "river-cooldown", time.Millisecond, "the shortest time between two fetches of River")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, o compare.Options) (err error) {
	server, err := pgserver.Start(ctx, pgserver.Config{Settings: map[string]string{"max_wal_size": "8GB"}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop(context.WithoutCancel(ctx))) }()
	if err := server.CreateDatabase(ctx, "compare"); err != nil {
		return err
	}
	o.Address = server.URL("compare")
	r, err := compare.Run(ctx, o)
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	return out.Encode(r)
}
