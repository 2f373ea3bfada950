package main

import (
	"context"
	"encoding/json"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/eventstore"
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

func (a *app) tailCommand() *cobra.Command {
	var f tailFlags
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Show events as they are appended",
		Long: `Tail shows events as they are appended, until Ctrl+C. It reads as workers do: it is woken by the
append, and shows an event only when none can come before it any more, so the order is final. It
has no checkpoint and is in nobody's way.

With --json each event is one line. The payload is shown only with --payload.`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context) error {
			return ignoreEnd(ctx, a.withSchema(ctx, "rouse tail", func(pool *pgxpool.Pool) error { return a.tail(ctx, pool, f) }))
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

// after is the position that is not shown any more.
func (f tailFlags) after(ctx context.Context, pool *pgxpool.Pool) (int64, error) {
	if f.from == "end" {
		return catchup.LastVisible(ctx, pool, math.MaxInt64)
	}
	after, err := strconv.ParseInt(f.from, 10, 64)
	if err != nil || after < 0 {
		return 0, usagef("--from %s is neither a position nor end", f.from)
	}
	return after, nil
}

// wanted are the types that the server is asked for. The ids of aggregates are looked at here.
func (f tailFlags) wanted() catchup.Types {
	types := catchup.Types{Events: f.types}
	for _, aggregate := range f.aggregates {
		name, _, _ := strings.Cut(aggregate, "/")
		types.Aggregates = append(types.Aggregates, name)
	}
	return types
}

func (f tailFlags) shows(ev eventstore.Event) bool {
	for _, aggregate := range f.aggregates {
		if name, id, whole := strings.Cut(aggregate, "/"); name == ev.AggregateType && (!whole || id == ev.AggregateID) {
			return true
		}
	}
	return len(f.aggregates) == 0
}

// tailing is one run of `rouse tail`.
type tailing struct {
	*app
	flags    tailFlags
	reader   *catchup.Reader
	listener *listener.Listener // nil with --poll-only
	wake     <-chan struct{}
	schedule *catchup.Schedule
	shown    int
}

func (a *app) tail(ctx context.Context, pool *pgxpool.Pool, f tailFlags) error {
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
	t := &tailing{app: a, flags: f, schedule: catchup.NewSchedule(), reader: catchup.NewReader(pool, log, token, catchup.SlotsOf([]int{0}, 1), after)}
	t.reader.Only(f.wanted())
	if !f.pollOnly {
		stop, err := t.listen(ctx, pool, log)
		if err != nil {
			return err
		}
		defer stop()
	}
	return t.run(ctx)
}

// listen begins to listen.
func (t *tailing) listen(ctx context.Context, pool *pgxpool.Pool, log catchup.Log) (stop func(), err error) {
	conn := pool.Config().ConnConfig
	if t.flags.listenURL != "" {
		if conn, err = t.listenConfig(t.flags.listenURL, "rouse tail"); err != nil {
			return nil, err
		}
	}
	t.listener = listener.New(listener.Config{
		ConnConfig: conn, Pool: pool, Events: log.Events, Sequence: log.Sequence, Instance: eventstore.NewID().String(),
		Presence: rand.Int32N(math.MaxInt32) + 1, Log: t.log,
	})
	wake, unsubscribe := t.listener.Subscribe()
	t.wake = wake.C
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { defer close(ended); t.listener.Run(ctx) }()
	return func() { cancel(); <-ended; unsubscribe() }, nil
}

// run reads until there is nothing more, and then again at the next wake.
func (t *tailing) run(ctx context.Context) error {
	for {
		b, err := t.reader.Next(ctx, tailBatch)
		if err != nil {
			return err
		}
		if t.listener != nil {
			t.listener.Observe(b.Head, b.Holders, false)
		}
		for _, ev := range b.Events {
			if !t.flags.shows(ev) {
				continue
			}
			if err := t.show(ev); err != nil {
				return err
			}
			if t.shown++; t.shown == t.flags.count {
				return nil
			}
		}
		if len(b.Events) > 0 {
			t.schedule.Reset()
		}
		if b.More {
			continue
		}
		if err := t.wait(ctx, b); err != nil {
			return err
		}
	}
}

// wait waits for a wake, or until it is time to look without one. As with a worker, that is soon while an append is open that
// may not notify.
func (t *tailing) wait(ctx context.Context, b catchup.Batch) error {
	var state listener.State
	if t.listener != nil {
		state = t.listener.State()
	}
	armed := state.Mode == listener.Quiet
	var pause time.Duration
	if b.Blocked || armed && max(b.Settled, b.To) < state.ArmedHead {
		pause = t.schedule.Settle(time.Now())
	} else {
		pause = t.schedule.Poll(armed && state.Proven && b.Push)
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-t.wake:
	case <-timer.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// shownEvent is an event as --json shows it.
type shownEvent struct {
	eventstore.Event
	Payload  json.RawMessage `json:"payload,omitempty"`
	Metadata json.RawMessage `json:"metadata,omitempty"`
}

func (t *tailing) show(ev eventstore.Event) error {
	if t.json {
		shown := shownEvent{Event: ev}
		if t.flags.payload {
			shown.Payload, shown.Metadata = ev.Payload, ev.Metadata
		}
		enc := json.NewEncoder(t.out)
		enc.SetEscapeHTML(false)
		return enc.Encode(shown)
	}
	line := "%s  %12s  %s  v%d  %s"
	args := []any{ev.CreatedAt.Local().Format("15:04:05.000"), grouped(ev.GlobalPosition), printable(ev.AggregateType + "/" + ev.AggregateID), ev.AggregateVersion, printable(ev.Type)}
	if t.flags.payload {
		line, args = line+"  %s", append(args, ev.Payload)
	}
	return t.say(line, args...)
}
