package cli

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/console"
	"github.com/rouse-es/rouse/parked"
)

// errorWidth is how much of an error the table shows, in bytes.
const errorWidth = 100

func parkedListVerb(e *env) *cobra.Command {
	var f parkedFlags
	var limit int
	var byAggregate bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List events that were set aside, in the order of the log",
		Long: `List shows the events that were set aside. A retrying one is tried again by itself, at NEXT; a
deferred one has not failed, its handler wants it at NEXT and no earlier; a parked one waits for
retry or discard; a waiting one is behind another of its aggregate, and has no ATTEMPTS and no ERROR. With --by-aggregate there is one line for each aggregate, with its first
event and the number of its EVENTS.`,
		Args: cobra.NoArgs,
		RunE: e.verb(func(ctx context.Context) error { return listParked(ctx, e, f, limit, byAggregate) }),
	}
	f.register(cmd.Flags())
	cmd.Flags().BoolVar(&byAggregate, "by-aggregate", false, "one line for each aggregate")
	cmd.Flags().IntVar(&limit, "limit", 100, "at most so many; 0: all")
	return cmd
}

func listParked(ctx context.Context, e *env, f parkedFlags, limit int, byAggregate bool) error {
	filter, err := f.filter()
	if err != nil {
		return err
	}
	if limit < 0 {
		return usagef("--limit %d is negative", limit)
	}
	return e.db.WithSchema(ctx, "parked list", func(pool *pgxpool.Pool) error {
		ask := limit
		if limit > 0 {
			ask++ // to see whether there are more
		}
		list := parked.List
		if byAggregate {
			list = parked.Aggregates
		}
		events, err := list(ctx, pool, filter, ask)
		if err != nil {
			return err
		}
		more := limit > 0 && len(events) > limit
		if more {
			events = events[:limit]
		}
		if e.json {
			all := []parkedEvent{}
			for _, ev := range events {
				all = append(all, forPrograms(ev))
			}
			return e.printJSON(all)
		}
		return printParked(e, events, more, byAggregate)
	})
}

func printParked(e *env, events []parked.Event, more, byAggregate bool) error {
	if len(events) == 0 {
		return e.say("no event is parked")
	}
	w := tabwriter.NewWriter(e.out, 0, 0, 2, ' ', 0)
	row := func(cells ...string) { _ = console.Row(w, cells...) } // the flush reports what went wrong
	number := "VERSION"
	if byAggregate {
		number = "EVENTS"
	}
	row("PROJECTION", "POSITION", "AGGREGATE", number, "TYPE", "STATE", "ATTEMPTS", "AGE", "NEXT", "ERROR")
	for _, ev := range events {
		attempts, text, number := "", strings.Join(strings.Fields(ev.Error), " "), ev.Version
		if ev.Attempts > 0 {
			attempts = fmt.Sprint(ev.Attempts)
		}
		if len(text) > errorWidth {
			text = console.Clip(text, errorWidth-3) + "..."
		}
		if byAggregate {
			number = ev.Events
		}
		row(ev.Projection, fmt.Sprint(ev.Position), console.Short(ev.Aggregate.Type)+"/"+console.Short(ev.Aggregate.ID), fmt.Sprint(number),
			console.Short(ev.Type), stateOf(ev), attempts, console.Seconds(time.Since(ev.ParkedAt).Seconds()), next(ev), text)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if more {
		return e.say("and more (see --limit)")
	}
	return nil
}
