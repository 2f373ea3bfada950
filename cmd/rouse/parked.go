package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/parked"
)

// errorWidth is how much of an error the table shows, in bytes.
const errorWidth = 100

// parkedFlags say which parked events are meant.
type parkedFlags struct {
	projection, aggregate string
	position              int64
	all                   bool
}

func (f *parkedFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.projection, "projection", "", "those of one projection")
	flags.StringVar(&f.aggregate, "aggregate", "", "those of one aggregate, written TYPE/ID")
	flags.Int64Var(&f.position, "position", 0, "the event at one global position")
}

// filter is what the flags say, for all projections if they name none.
func (f *parkedFlags) filter() (parked.Filter, error) {
	filter := parked.Filter{Projection: f.projection, Position: f.position}
	if f.position < 0 {
		return filter, usagef("--position %d: positions begin at 1", f.position)
	}
	if f.aggregate != "" {
		aggregateType, id, found := strings.Cut(f.aggregate, "/")
		if !found || aggregateType == "" || id == "" {
			return filter, usagef("--aggregate %q is not TYPE/ID, such as order/4711", f.aggregate)
		}
		filter.Aggregate = eventstore.Stream{Type: aggregateType, ID: id}
	}
	return filter, nil
}

// chosen is filter for verbs that change something: they take no silence for "all".
func (f *parkedFlags) chosen() (parked.Filter, error) {
	if f.all == (f.projection != "" || f.aggregate != "" || f.position != 0) {
		return parked.Filter{}, usagef("say which events: --projection, --aggregate, --position, or --all for those of all projections")
	}
	return f.filter()
}

func (a *app) parkedCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "parked",
		Short: "List, show, retry and discard events that were set aside",
		Long: `An event that its handler cannot handle is parked, unless the projection wants it otherwise.
Later events of the same aggregate wait behind it, and all others flow on. Mend the cause and
retry; or discard the event, and those behind it are handled without it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.parkedListCommand(), a.parkedShowCommand(), a.parkedRetryCommand(), a.parkedDiscardCommand())
	return cmd
}

func (a *app) parkedListCommand() *cobra.Command {
	var f parkedFlags
	var limit int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List parked events, in the order of the log",
		Long: `List shows parked events. ATTEMPTS and ERROR are empty for those that only wait behind another
one of their aggregate. DUE are those that somebody has asked to be handled again.`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context) error { return a.parkedList(ctx, f, limit) }),
	}
	f.register(cmd.Flags())
	cmd.Flags().IntVar(&limit, "limit", 100, "at most so many; 0: all")
	return cmd
}

// parkedEvent is a parked event as programs read it.
type parkedEvent struct {
	Projection    string          `json:"projection"`
	Position      int64           `json:"position"`
	ID            string          `json:"event_id"`
	AggregateType string          `json:"aggregate_type"`
	AggregateID   string          `json:"aggregate_id"`
	Version       int64           `json:"aggregate_version"`
	Type          string          `json:"event_type"`
	Attempts      int             `json:"attempts"`
	Error         string          `json:"error"`
	ParkedAt      time.Time       `json:"parked_at"`
	Due           bool            `json:"due"`
	Payload       json.RawMessage `json:"payload,omitempty"`
	Metadata      json.RawMessage `json:"metadata,omitempty"`
}

func forPrograms(e parked.Event) parkedEvent {
	return parkedEvent{Projection: e.Projection, Position: e.Position, ID: e.ID, AggregateType: e.Aggregate.Type, AggregateID: e.Aggregate.ID,
		Version: e.Version, Type: e.Type, Attempts: e.Attempts, Error: e.Error, ParkedAt: e.ParkedAt, Due: e.Due}
}

func (a *app) parkedList(ctx context.Context, f parkedFlags, limit int) error {
	filter, err := f.filter()
	if err != nil {
		return err
	}
	if limit < 0 {
		return usagef("--limit %d is negative", limit)
	}
	return a.withSchema(ctx, "rouse parked list", func(pool *pgxpool.Pool) error {
		ask := limit
		if limit > 0 {
			ask++ // to see whether there are more
		}
		events, err := parked.List(ctx, pool, filter, ask)
		if err != nil {
			return err
		}
		more := limit > 0 && len(events) > limit
		if more {
			events = events[:limit]
		}
		if a.json {
			list := []parkedEvent{}
			for _, e := range events {
				list = append(list, forPrograms(e))
			}
			return a.printJSON(list)
		}
		return a.printParked(events, more)
	})
}

func (a *app) printParked(events []parked.Event, more bool) error {
	if len(events) == 0 {
		return a.say("no event is parked")
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "PROJECTION\tPOSITION\tAGGREGATE\tVERSION\tTYPE\tATTEMPTS\tAGE\tDUE\tERROR")
	for _, e := range events {
		attempts, due, text := "", "", strings.Join(strings.Fields(e.Error), " ")
		if e.Attempts > 0 {
			attempts = fmt.Sprint(e.Attempts)
		}
		if e.Due {
			due = "yes"
		}
		if len(text) > errorWidth {
			text = clip(text, errorWidth-3) + "..."
		}
		_, _ = fmt.Fprintf(w, "%s\t%d\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", e.Projection, e.Position, printable(e.Aggregate.Type+"/"+e.Aggregate.ID),
			e.Version, printable(e.Type), attempts, seconds(time.Since(e.ParkedAt).Seconds()), due, printable(text))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if more {
		return a.say("and more (see --limit)")
	}
	return nil
}

func (a *app) parkedShowCommand() *cobra.Command {
	var f parkedFlags
	var payload bool
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show one parked event with its whole error",
		Args:  cobra.NoArgs,
		RunE:  a.verb(func(ctx context.Context) error { return a.parkedShow(ctx, f, payload) }),
	}
	f.register(cmd.Flags())
	cmd.Flags().BoolVar(&payload, "payload", false, "show payload and metadata too")
	return cmd
}

func (a *app) parkedShow(ctx context.Context, f parkedFlags, payload bool) error {
	filter, err := f.filter()
	if err != nil {
		return err
	}
	if filter.Position == 0 {
		return usagef("say which event: --position, as rouse parked list shows it")
	}
	return a.withSchema(ctx, "rouse parked show", func(pool *pgxpool.Pool) error {
		events, err := parked.List(ctx, pool, filter, 2)
		switch {
		case err != nil:
			return err
		case len(events) == 0:
			return fmt.Errorf("no such event is parked (see rouse parked list)")
		case len(events) > 1:
			return usagef("the event is parked by several projections: name one with --projection")
		}
		e := forPrograms(events[0])
		if payload {
			const read = "select payload::text, metadata::text from events where global_position = $1"
			var body, meta string
			if err := pool.QueryRow(ctx, read, e.Position).Scan(&body, &meta); err != nil {
				return err
			}
			e.Payload, e.Metadata = json.RawMessage(body), json.RawMessage(meta)
		}
		if a.json {
			return a.printJSON(e)
		}
		return a.printOne(e)
	})
}

func (a *app) printOne(e parkedEvent) error {
	var b strings.Builder
	row := func(name string, value any) { fmt.Fprintf(&b, "%-12s%v\n", name, value) }
	row("projection", e.Projection)
	row("position", e.Position)
	row("event id", e.ID)
	row("aggregate", printable(e.AggregateType+"/"+e.AggregateID))
	row("version", e.Version)
	row("type", printable(e.Type))
	row("parked", e.ParkedAt.Format(time.RFC3339)+", "+seconds(time.Since(e.ParkedAt).Seconds())+" ago")
	row("due", e.Due)
	row("attempts", e.Attempts)
	if e.Error == "" {
		e.Error = "none, it waits behind an earlier event of its aggregate"
	}
	lines := strings.Split(e.Error, "\n")
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	row("error", strings.Join(lines, "\n"))
	if e.Payload != nil {
		row("payload", string(e.Payload))
		row("metadata", string(e.Metadata))
	}
	_, err := fmt.Fprint(a.out, b.String())
	return err
}
