package rouse_test

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/events"
	"github.com/rouse-es/rouse/eventstore"
	projections "github.com/rouse-es/rouse/projection"
)

// A projection of functions has those optional interfaces that its options say, and no others: for the rest the configuration decides.
func TestAProjectionOfFunctionsSaysWhatItsOptionsSay(t *testing.T) {
	t.Parallel()
	type happened struct{}
	registry := &events.Registry{}
	events.Register[happened]("Happened", 1, events.In(registry), events.Formerly("Occurred"))
	nothing := func(context.Context, pgx.Tx) error { return nil }
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom([]string{"On", "Queue", "Do"}).Draw(t, "kind")
		cfg := rouse.Config{OnFailure: rouse.Stop, StartFrom: rouse.Now, BatchTime: time.Second, Retry: rouse.RetryPolicy{Tries: 7}}
		want := rouse.Said{
			Name: "p", Events: []string{"Happened", "Occurred"}, Start: rouse.Now, OnFailure: rouse.Stop, Tries: 7, BatchTime: time.Second, Version: 1, Batch: kind == "Queue",
		}
		options := []projections.Option{projections.Events(registry)}
		maybe := func(name string, option projections.Option, says func()) {
			if rapid.Bool().Draw(t, name) {
				options = append(options, option)
				says()
			}
		}
		maybe("OfAggregates", projections.OfAggregates("a", "b"), func() { want.Aggregates = []string{"a", "b"} })
		maybe("OnFailure", projections.OnFailure(rouse.Skip), func() { want.OnFailure = rouse.Skip })
		maybe("StartFrom", projections.StartFrom(rouse.Beginning), func() { want.Start = rouse.Beginning })
		maybe("Retry", projections.Retry(rouse.RetryPolicy{Tries: 3}), func() { want.Tries = 3 })
		maybe("BatchTime", projections.BatchTime(time.Minute), func() { want.BatchTime = time.Minute })
		maybe("Unknown", projections.Unknown(projections.Pass), func() { want.Events = nil })
		if kind != "Do" {
			maybe("Version", projections.Version(2), func() { want.Version = 2 })
			maybe("ResetWith", projections.ResetWith(nothing), func() { want.Resets = true })
			maybe("Tables", projections.Tables("a"), func() { want.Tables, want.Resets = []string{"a"}, true })
			if want.Tables != nil {
				maybe("CreateWith", projections.CreateWith(nothing), func() { want.Creates = true })
			}
		}
		switch kind {
		case "On":
			options = append(options, projections.On(func(context.Context, pgx.Tx, happened, eventstore.Event) error { return nil }))
			cfg.Projections = []rouse.Projection{projections.New("p", options...)}
		case "Queue":
			options = append(options, projections.Queue(func(*pgx.Batch, happened, eventstore.Event) error { return nil }))
			cfg.Projections = []rouse.Projection{projections.New("p", options...)}
		case "Do":
			options = append(options, projections.Do(func(context.Context, happened, eventstore.Event) error { return nil }))
			cfg.Effects = []rouse.Effect{projections.NewEffect("p", options...)}
		}
		if got := rouse.SaidOf(cfg); !reflect.DeepEqual(got, []rouse.Said{want}) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
		if _, err := rouse.New(nil, cfg); err != nil {
			t.Fatalf("the configuration is refused: %v", err)
		}
	})
}
