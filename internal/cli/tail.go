package cli

import (
	"context"
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/console"
	"github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/internal/signal"
	"github.com/rouse-es/rouse/listener"
)

// tailBatch is how many events are read at once.
const tailBatch = 500

// tailFlags say which events `rouse tail` shows.
type tailFlags struct {
	types, aggregates []string
	from, listenURL   string
	payload, pollOnly bool
	count             int
}

func tailVerb(e *env) *cobra.Command {
	var f tailFlags
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Show events as they are appended",
		Long: `Tail shows events as they are appended, until Ctrl+C. It reads as workers do: it is woken by the
append, and shows an event only when none can come before it any more, so the order is final. It
has no checkpoint and is in nobody's way.

Types and ids longer than 300 bytes are cut off. With --json each event is one line, with nothing
cut off. The payload is shown only with --payload.`,
		Args: cobra.NoArgs,
		RunE: e.verb(func(ctx context.Context) error {
			if f.count < 0 {
				return usagef("--count %d: at least one event, or 0 to go on", f.count)
			}
			return signal.IgnoreEnd(ctx, e.db.WithSchema(ctx, "tail", func(pool *pgxpool.Pool) error { return showTail(ctx, e, pool, f) }))
		}),
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&f.types, "type", nil, "only events of these types")
	flags.StringSliceVar(&f.aggregates, "aggregate", nil, "only events of these aggregates: TYPE or TYPE/ID")
	flags.StringVar(&f.from, "from", "end", "after which position to begin: a number, 0 for all events, or end")
	flags.BoolVar(&f.payload, "payload", false, "show the payload and the metadata too")
	flags.IntVar(&f.count, "count", 0, "exit after so many events; 0: go on")
	flags.BoolVar(&f.pollOnly, "poll-only", false, "do not listen, read every second or faster")
	flags.StringVar(&f.listenURL, "listen-url", "", "direct address for the listening connection, where --database-url leads to a pooler")
	fromEnv(flags, "listen-url", "ROUSE_LISTEN_URL")
	return cmd
}

// begin is where tail begins: after which position it reads, and after which it shows what it reads.
type begin struct{ read, show int64 }

// after is where to begin. From a position beyond the end of the log it begins at the end, and shows what comes behind that position.
func (f tailFlags) after(ctx context.Context, pool *pgxpool.Pool) (begin, error) {
	last, err := catchup.LastVisible(ctx, pool, math.MaxInt64)
	if err != nil {
		return begin{}, err
	}
	if f.from == "end" {
		return begin{last.Position, last.Position}, nil
	}
	show, err := strconv.ParseInt(f.from, 10, 64)
	if err != nil || show < 0 {
		return begin{}, usagef("--from %s is neither a position nor end", f.from)
	}
	return begin{min(show, last.Position), show}, nil
}

// wanted returns the types that the server is asked for.
func (f tailFlags) wanted() catchup.Types {
	types := catchup.Types{Events: f.types}
	for _, aggregate := range f.aggregates {
		name, _, _ := strings.Cut(aggregate, "/")
		types.Aggregates = append(types.Aggregates, name)
	}
	return types
}

// shows reports whether an event is to be shown: at the end of the log the feed brings those of other types too.
func (f tailFlags) shows(ev eventstore.Event) bool {
	if len(f.types) > 0 && !slices.Contains(f.types, ev.Type) {
		return false
	}
	for _, aggregate := range f.aggregates {
		if name, id, whole := strings.Cut(aggregate, "/"); name == ev.AggregateType && (!whole || id == ev.AggregateID) {
			return true
		}
	}
	return len(f.aggregates) == 0
}

// tailing is one run of `rouse tail`.
type tailing struct {
	env   *env
	flags tailFlags
	after int64 // nothing up to this position is shown
	shown int
}

// showTail shows events until there have been enough, or ctx ends.
func showTail(ctx context.Context, e *env, pool *pgxpool.Pool, f tailFlags) error {
	after, err := f.after(ctx, pool)
	if err != nil {
		return err
	}
	log, err := catchup.Open(ctx, pool)
	if err != nil {
		return err
	}
	token, err := catchup.CurrentToken(ctx, pool)
	if err != nil {
		return err
	}
	if after.show > after.read {
		e.log.Warn().Int64("last", after.read).Int64("from", after.show).
			Msg("the log ends before the position of --from: nothing is shown until events come behind it (was the log restored, or begun anew?)")
	}
	t := &tailing{env: e, flags: f, after: after.show}
	var events *listener.Listener // nil with --poll-only
	if !f.pollOnly {
		if events, err = t.newListener(pool, log); err != nil {
			return err
		}
	}
	source := catchup.NewSource(catchup.SourceConfig{Pool: pool, BatchSize: tailBatch, Listener: events})
	feed := source.Feed(catchup.FeedConfig{Log: log, Token: token, Slots: catchup.SlotsOf([]int{0}, 1), Types: f.wanted(), After: after.read})
	runCtx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer func() { cancel(); running.Wait() }()
	if events != nil {
		running.Go(func() { events.Run(runCtx) })
	}
	running.Go(func() { feed.Run(runCtx) })
	return t.follow(ctx, source, feed)
}

// newListener returns what wakes the tail.
func (t *tailing) newListener(pool *pgxpool.Pool, log catchup.Log) (_ *listener.Listener, err error) {
	var listen func(context.Context) (*pgx.ConnConfig, error) // nil: as the pool
	if t.flags.listenURL != "" {
		if listen, err = listenConfig(&t.env.db, t.flags.listenURL, "tail"); err != nil {
			return nil, err
		}
	}
	return listener.New(listener.Config{
		Dialer: db.Beside(pool, listen), Pool: pool, Events: log.Events, Sequence: log.Sequence, Instance: eventstore.NewID().String(),
		Presence: rand.Int32N(math.MaxInt32) + 1, Log: t.env.log,
	}), nil
}

// follow shows what the feed brings, until --count is reached or ctx ends.
func (t *tailing) follow(ctx context.Context, source *catchup.Source, feed *catchup.Feed) error {
	for b := range feed.C {
		if len(b.Events) > 0 {
			source.NoteUse()
		}
		for _, ev := range b.Events {
			if ev.GlobalPosition <= t.after || !t.flags.shows(ev) {
				continue
			}
			if err := t.show(ev); err != nil {
				return err
			}
			if t.shown++; t.shown == t.flags.count {
				return nil
			}
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return feed.Err()
}

// shownEvent is an event as --json shows it.
type shownEvent struct {
	eventstore.Event
	Payload  json.RawMessage `json:"payload,omitempty"`
	Metadata json.RawMessage `json:"metadata,omitempty"`
}

func (t *tailing) show(ev eventstore.Event) error {
	if t.env.json {
		shown := shownEvent{Event: ev}
		if t.flags.payload {
			shown.Payload, shown.Metadata = ev.Payload, ev.Metadata
		}
		return console.JSON(t.env.out, shown, "")
	}
	line := "%s  %12s  %s  v%d  %s"
	args := []any{ev.CreatedAt.Local().Format("15:04:05.000"), console.Grouped(ev.GlobalPosition), console.Short(ev.AggregateType) + "/" + console.Short(ev.AggregateID), ev.AggregateVersion, console.Short(ev.Type)}
	if t.flags.payload {
		line, args = line+"  %s", append(args, onOneLine(ev.Payload))
	}
	return t.env.say(line, args...)
}

// onOneLine is JSON on one line: its own strings have no raw line breaks and tabs.
func onOneLine(raw json.RawMessage) string {
	return strings.NewReplacer("\r", " ", "\n", " ", "\t", " ").Replace(string(raw))
}
