package reliability_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
)

// broken is a projection that skips one event in fifty, handles one twice, and has one change places with the one before it
// of the same aggregate.
type broken struct{ recorder }

func (b *broken) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	for _, ev := range b.spoil([]eventstore.Event{ev}) {
		if err := b.recorder.Apply(ctx, tx, ev); err != nil {
			return err
		}
	}
	return nil
}

func (b *broken) ApplyBatch(ctx context.Context, batch *pgx.Batch, events []eventstore.Event) error {
	return b.recorder.ApplyBatch(ctx, batch, b.spoil(events))
}

func (b *broken) spoil(events []eventstore.Event) []eventstore.Event {
	var spoilt []eventstore.Event
	for _, ev := range events {
		switch rand.IntN(50) {
		case 0:
		case 1:
			spoilt = append(spoilt, ev, ev)
		case 2:
			spoilt = append(spoilt, ev)
			for i, other := range spoilt {
				if other.AggregateID == ev.AggregateID {
					spoilt[i], spoilt[len(spoilt)-1] = ev, other
					break
				}
			}
		default:
			spoilt = append(spoilt, ev)
		}
	}
	return spoilt
}

// A real worker whose projection is broken must not get away with it: the judge sees what it does and nothing else.
func TestJudgeSeesThroughABrokenWorker(t *testing.T) {
	t.Parallel()
	a := newArena(t, form{events: 1000, seats: 1, perSecond: 1000}, 1, nil, testdb.New(t), brokenAtRandom)
	a.run(nil)
	e, err := a.collect(t.Context())
	require.NoError(t, err)
	v := judge(e)
	require.GreaterOrEqual(t, v.Acknowledged, int64(1000))
	require.Positive(t, v.Lost, "%+v", v)
	require.Positive(t, v.Doubled, "%+v", v)
	require.Positive(t, v.OutOfOrder, "%+v", v)
	require.False(t, v.sound())
	v.Lost, v.Doubled, v.OutOfOrder = 0, 0, 0
	require.True(t, v.sound(), "%+v", v)
}
