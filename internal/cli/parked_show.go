package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/console"
	"github.com/rouse-es/rouse/parked"
)

func parkedShowVerb(e *env) *cobra.Command {
	var f parkedFlags
	var payload bool
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show one parked event with its whole error",
		Args:  cobra.NoArgs,
		RunE:  e.verb(func(ctx context.Context) error { return showParked(ctx, e, f, payload) }),
	}
	f.register(cmd.Flags())
	cmd.Flags().BoolVar(&payload, "payload", false, "show payload and metadata too")
	return cmd
}

func showParked(ctx context.Context, e *env, f parkedFlags, payload bool) error {
	filter, err := f.filter()
	if err != nil {
		return err
	}
	if filter.Position == 0 {
		return usagef("say which event: --position, as rouse parked list shows it")
	}
	return e.db.WithSchema(ctx, "parked show", func(pool *pgxpool.Pool) error {
		events, err := parked.List(ctx, pool, filter, 2)
		switch {
		case err != nil:
			return err
		case len(events) == 0:
			return fmt.Errorf("no such event is parked (see rouse parked list)")
		case len(events) > 1:
			return usagef("the event is parked by several projections: name one with --projection")
		}
		ev := forPrograms(events[0])
		if payload {
			const read = "select payload::text, metadata::text from events where global_position = $1"
			var body, meta string
			if err := pool.QueryRow(ctx, read, ev.Position).Scan(&body, &meta); err != nil {
				return err
			}
			ev.Payload, ev.Metadata = json.RawMessage(body), json.RawMessage(meta)
		}
		if e.json {
			return e.printJSON(ev)
		}
		return printParkedEvent(e, ev)
	})
}

func printParkedEvent(e *env, ev parkedEvent) error {
	var b strings.Builder
	row := func(name string, value any) { _ = console.Printf(&b, "%-12s%v\n", name, value) } // a Builder takes everything
	row("projection", ev.Projection)
	row("position", ev.Position)
	row("event id", ev.ID)
	row("aggregate", console.Short(ev.AggregateType)+"/"+console.Short(ev.AggregateID))
	row("version", ev.Version)
	row("type", console.Short(ev.Type))
	row("parked", ev.ParkedAt.Format(time.RFC3339)+", "+console.Seconds(time.Since(ev.ParkedAt).Seconds())+" ago")
	row("state", ev.State)
	if ev.DueAt != nil {
		row("next try", ev.DueAt.Format(time.RFC3339))
	}
	row("attempts", ev.Attempts)
	row("tries", ev.Tries)
	if ev.Erased {
		row("erased", "yes, it is no longer in the log, and is taken out of the queue when it is its turn")
	}
	switch {
	case ev.Error == "" && ev.State == "deferred":
		ev.Error = "none, its handler wants it then and no earlier"
	case ev.Error == "":
		ev.Error = "none, it waits behind an earlier event of its aggregate"
	}
	for i, line := range strings.Split(ev.Error, "\n") { // the stack of a panic has many
		name := "error"
		if i > 0 {
			name = ""
		}
		row(name, line)
	}
	if ev.Payload != nil {
		row("payload", onOneLine(ev.Payload))
		row("metadata", onOneLine(ev.Metadata))
	}
	_, err := fmt.Fprint(e.out, b.String())
	return err
}
