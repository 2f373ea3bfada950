package rouse_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
)

type scoped struct {
	projection
	events, aggregates []string
}

func (s scoped) EventTypes() []string     { return s.events }
func (s scoped) AggregateTypes() []string { return s.aggregates }

type scopedEffect struct {
	name string
	got  chan eventstore.Event
}

func (s scopedEffect) Name() string         { return s.name }
func (s scopedEffect) EventTypes() []string { return []string{"kept"} }

func (scopedEffect) StartFrom() rouse.Start { return rouse.Beginning }

func (s scopedEffect) Do(_ context.Context, ev eventstore.Event) error {
	s.got <- ev
	return nil
}

// What a projection does not want does not reach its handler, holds nothing up, and is behind its checkpoints at once.
func TestScopedProjectionGetsWhatItWantsAndPassesOverTheRest(t *testing.T) {
	t.Parallel()
	b := setup(t)
	insert := func(aggregateType, eventType string) int64 {
		return b.int(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
			values ($1, gen_random_uuid(), 1, $2, '{}') returning global_position`, aggregateType, eventType)
	}
	kept := insert("order", "kept")
	other := insert("order", "other")
	foreign := insert("user", "kept")
	got := make(chan eventstore.Event, 10)
	all := batched{projection: projection{name: "all"}}
	worker := b.start(b.Pool, rouse.Config{
		Projections: []rouse.Projection{
			scoped{projection: projection{name: "both"}, events: []string{"kept", "rare"}, aggregates: []string{"order"}},
			scoped{projection: projection{name: "aggregates"}, aggregates: []string{"order"}},
			scoped{projection: projection{name: "empty"}},
			scoped{projection: projection{name: "none"}, events: []string{"never"}},
			all,
		},
		Effects: []rouse.Effect{scopedEffect{name: "effect", got: got}},
	}).WaitStarted()
	require.NoError(t, worker.Drain(b.ctx))
	later := insert("order", "kept") // live, after the glance
	require.NoError(t, worker.Drain(b.ctx))
	_ = worker.Stop()

	require.Equal(t, []int64{kept, later}, b.done("both"))
	require.Equal(t, []int64{kept, other, later}, b.done("aggregates"))
	require.Equal(t, []int64{kept, other, foreign, later}, b.done("empty"))
	require.Empty(t, b.done("none"))
	require.Equal(t, []int64{kept, other, foreign, later}, b.done("all"))
	close(got)
	var positions []int64
	for ev := range got {
		positions = append(positions, ev.GlobalPosition)
	}
	require.Equal(t, []int64{kept, foreign, later}, positions)
	require.Zero(t, b.int("select count(*) from projection_checkpoints where last_global_position <> $1", later))
}
