package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/console"
	"github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/partition"
)

// errLate means that what was waited for did not come in time.
var errLate = errors.New("what was waited for did not come in time")

func waitVerb(e *env) *cobra.Command {
	var position, listenURL string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "wait NAME",
		Short: "Wait until a projection has handled an event, or all that there are",
		Long: `Wait ends with 0 once a projection has handled all events up to a position, in all of its partitions;
head is the last event that there is. Workers tell when they are there; nothing asks in a loop. With a
position it ends with 5 if the event there is parked. It ends with 5 too if the projection is paused or
stopped before it comes there, and with 8 if that takes too long.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			e.parsed = true
			at, err := parseWaited(position)
			if err != nil {
				return err
			}
			if timeout < 0 {
				return usagef("--timeout %s: 0, which is for ever, or more", timeout)
			}
			cfg := rouse.WaiterConfig{}
			if listenURL != "" {
				if cfg.ListenConn, err = listenConfig(&e.db, listenURL, "wait listen"); err != nil {
					return err
				}
			}
			return e.waitFor(cmd.Context(), args[0], at, timeout, cfg)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&position, "position", "head", "a position, or head")
	flags.DurationVar(&timeout, "timeout", time.Minute, "how long to wait; 0: for ever")
	flags.StringVar(&listenURL, "listen-url", "", "direct address for the listening connection, where --database-url leads to a pooler")
	fromEnv(flags, "listen-url", "ROUSE_LISTEN_URL")
	return cmd
}

// parseWaited reads --position: a position, or -1 for the head.
func parseWaited(position string) (int64, error) {
	if position == "head" {
		return -1, nil
	}
	at, err := strconv.ParseInt(position, 10, 64)
	if err != nil || at < 0 {
		return 0, usagef("--position %q is neither a position nor head", position)
	}
	return at, nil
}

// waitFor waits for a projection.
func (e *env) waitFor(ctx context.Context, name string, at int64, timeout time.Duration, cfg rouse.WaiterConfig) error {
	err := e.db.WithSchema(ctx, "wait", func(pool *pgxpool.Pool) error { return waitWith(ctx, e, pool, name, at, timeout, cfg) })
	if errors.Is(err, rouse.ErrNoProjection) {
		return usageError{err}
	}
	return err
}

// waitWith is waitFor with a pool.
func waitWith(ctx context.Context, e *env, pool *pgxpool.Pool, name string, at int64, timeout time.Duration, cfg rouse.WaiterConfig) (err error) {
	waiter := rouse.NewWaiter(pool, cfg)
	defer waiter.Close()
	waitCtx := ctx
	if timeout > 0 {
		var cancel context.CancelFunc
		waitCtx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	began := time.Now()
	if at < 0 {
		err = waiter.WaitForHead(waitCtx, name)
	} else {
		err = waitForEvent(waitCtx, pool, waiter, name, at)
	}
	switch {
	case err == nil:
		return e.sayWaited(name, at, time.Since(began))
	case errors.Is(err, rouse.ErrNoProjection):
		found, findErr := partition.Find(ctx, db.In(pool, ""), []string{name})
		if end := found[name].Became(name); findErr == nil && end != "" {
			return fmt.Errorf("%w: %s", rouse.ErrNoProjection, end)
		}
		return err
	case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: %w", errLate, err)
	}
	return err
}

// waited is what `rouse wait --json` prints.
type waited struct {
	Projection string  `json:"projection"`
	Position   *int64  `json:"position"` // null: the head
	Seconds    float64 `json:"seconds"`
}

// sayWaited says that what was waited for has come.
func (e *env) sayWaited(name string, at int64, took time.Duration) error {
	w := waited{Projection: name, Seconds: took.Seconds()}
	where := "all events that there were"
	if at >= 0 {
		w.Position, where = &at, "everything up to position "+console.Grouped(at)
	}
	if e.json {
		return e.printJSON(w)
	}
	return e.say("%s has handled %s (%s)", name, where, took.Round(time.Millisecond))
}

// waitForEvent waits until a projection has come to a position, and for the event there, if there is one.
func waitForEvent(ctx context.Context, pool *pgxpool.Pool, waiter *rouse.Waiter, name string, at int64) error {
	if err := waiter.WaitForPosition(ctx, name, at); err != nil {
		return err
	}
	event := eventstore.Appended{Positions: []int64{at}}
	err := pool.QueryRow(ctx, "select slot from events where global_position = $1", at).Scan(&event.Slot)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return waiter.WaitFor(ctx, name, event)
}
