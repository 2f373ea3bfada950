package cli

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/console"
	"github.com/rouse-es/rouse/parked"
)

// parkedFlags say which parked events are meant.
type parkedFlags struct {
	projection, aggregate, aggregateType, eventType, errorPart string
	position                                                   int64
	since                                                      time.Duration
	all                                                        bool
}

func (f *parkedFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.projection, "projection", "", "those of one projection")
	flags.StringVar(&f.aggregate, "aggregate", "", "those of one aggregate, written TYPE/ID")
	flags.StringVar(&f.aggregateType, "aggregate-type", "", "those of all aggregates of one type")
	flags.StringVar(&f.eventType, "event-type", "", "those of one type of event")
	flags.StringVar(&f.errorPart, "error", "", "those with this text in their last error")
	flags.DurationVar(&f.since, "since", 0, "those that were set aside within this time, such as 2h")
	flags.Int64Var(&f.position, "position", 0, "the event at one global position")
}

// named reports whether the flags name any event.
func (f *parkedFlags) named() bool { return *f != parkedFlags{all: f.all} }

// many reports whether the flags may mean more than one aggregate.
func (f *parkedFlags) many() bool { return f.aggregate == "" && f.position == 0 }

// filter is what the flags say, for all projections if they name none.
func (f *parkedFlags) filter() (parked.Filter, error) {
	filter := parked.Filter{Projection: f.projection, Position: f.position, EventType: f.eventType, Error: f.errorPart}
	switch {
	case f.position < 0:
		return filter, usagef("--position %d: positions begin at 1", f.position)
	case f.since < 0:
		return filter, usagef("--since %s is negative", f.since)
	case f.since > 0:
		filter.Since = time.Now().Add(-f.since)
	}
	if f.aggregateType != "" {
		if f.aggregate != "" {
			return filter, usagef("--aggregate names a type already: leave --aggregate-type out")
		}
		filter.Aggregate.Type = f.aggregateType
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
	if f.all == f.named() {
		return parked.Filter{}, usagef("say which events: --projection, --aggregate, --position and the like, or --all for those of all projections")
	}
	return f.filter()
}

func parkedVerb(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "parked",
		Short: "List, show, retry and discard events that were set aside",
		Long: `An event that its handler cannot handle is set aside and tried again, for some minutes, or for a
day if it is an effect's. After that it is parked, unless the projection wants it otherwise. Later
events of the same aggregate wait behind it, and all others flow on. Mend the cause and retry; or
discard the event, and those behind it are handled without it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(parkedListVerb(e), parkedShowVerb(e), parkedRetryVerb(e), parkedDiscardVerb(e))
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
	Tries         int             `json:"tries"`
	Error         string          `json:"error"`
	ParkedAt      time.Time       `json:"parked_at"`
	State         string          `json:"state"`
	DueAt         *time.Time      `json:"due_at"`
	Erased        bool            `json:"erased"`
	Payload       json.RawMessage `json:"payload,omitempty"`
	Metadata      json.RawMessage `json:"metadata,omitempty"`
}

func forPrograms(e parked.Event) parkedEvent {
	p := parkedEvent{Projection: e.Projection, Position: e.Position, ID: e.ID, AggregateType: e.Aggregate.Type, AggregateID: e.Aggregate.ID,
		Version: e.Version, Type: e.Type, Attempts: e.Attempts, Tries: e.Tries, Error: e.Error, ParkedAt: e.ParkedAt, State: stateOf(e), Erased: e.Erased}
	if !e.DueAt.IsZero() {
		p.DueAt = &e.DueAt
	}
	return p
}

// stateOf says how an event stands: retrying, deferred and parked are the first ones of their aggregates.
func stateOf(e parked.Event) string {
	switch {
	case !e.First:
		return "waiting"
	case e.DueAt.IsZero():
		return "parked"
	case e.Deferred:
		return "deferred"
	}
	return "retrying"
}

// next says when an event is tried next, "" if that is not known.
func next(e parked.Event) string {
	if e.DueAt.IsZero() {
		return ""
	}
	if wait := time.Until(e.DueAt); wait > 0 && e.Deferred {
		return "not before " + e.DueAt.UTC().Format(time.RFC3339)
	} else if wait > 0 {
		return "in " + console.Seconds(wait.Seconds())
	}
	return "now"
}
