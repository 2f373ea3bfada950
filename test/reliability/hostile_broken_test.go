package reliability_test

import (
	"context"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
)

// The ways in which handlers are broken for a test of the judge.
const (
	brokenAtRandom = "at random"
	brokenSkips    = "bad events are left out"
	brokenLater    = "bad events alone are set aside"
	brokenTwice    = "effects of bad events are done twice"
)

// naive is a projection that is in the way of nobody, because it does with a bad event what first comes to mind: it leaves
// it out, or it does it later, when others of its aggregate have been handled.
type naive struct {
	recorder
	*hostility
	how string

	mu    sync.Mutex // protects aside
	aside []eventstore.Event
}

func (n *naive) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	for _, ev := range n.sort([]eventstore.Event{ev}) {
		if err := n.recorder.Apply(ctx, tx, ev); err != nil {
			return err
		}
	}
	return nil
}

func (n *naive) ApplyBatch(ctx context.Context, batch *pgx.Batch, events []eventstore.Event) error {
	return n.recorder.ApplyBatch(ctx, batch, n.sort(events))
}

// sort returns what is done now: the good events, and the bad ones that were set aside and of whose aggregate there is a later
// one now.
func (n *naive) sort(events []eventstore.Event) (now []eventstore.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, ev := range events {
		switch bad := n.of(ev.AggregateID, ev.AggregateVersion) != good; {
		case bad && n.how == brokenLater:
			n.aside = append(n.aside, ev)
			continue
		case bad && n.how == brokenSkips:
			continue
		}
		now = append(now, ev)
		var left []eventstore.Event
		for _, late := range n.aside {
			if late.AggregateID == ev.AggregateID {
				now = append(now, late)
			} else {
				left = append(left, late)
			}
		}
		n.aside = left
	}
	return now
}

// twice is an effect that does everything and says that it has not, once for each bad event.
type twice struct {
	bills
	*hostility
}

func (t twice) Do(ctx context.Context, ev eventstore.Event) error {
	if err := t.bills.Do(ctx, ev); err != nil || t.of(ev.AggregateID, ev.AggregateVersion) == good {
		return err
	}
	return t.bills.Do(ctx, ev)
}

// Handlers that avoid trouble in a way that comes to mind are seen through, each for what it does. The hostility is that of
// the soak.
func TestJudgeSeesThroughNaiveHandlers(t *testing.T) {
	t.Parallel()
	for how, of := range map[string]func(v *verdict) *int64{
		brokenSkips: func(v *verdict) *int64 { return &v.Lost },
		brokenLater: func(v *verdict) *int64 { return &v.OutOfOrder },
		brokenTwice: func(v *verdict) *int64 { return &v.Unexplained },
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			a := newArena(t, form{events: 15000, seats: 1, perSecond: 3000, hostile: true}, 1, nil, testdb.New(t), how)
			a.run(nil)
			e, err := a.collect(t.Context())
			require.NoError(t, err)
			v := judge(e)
			require.GreaterOrEqual(t, v.Acknowledged, int64(15000))
			require.Positive(t, *of(&v), "%+v", v)
			require.False(t, v.sound())
			*of(&v), v.Lost, v.Miscounted = 0, 0, 0 // what was set aside and had nothing behind it is lost
			require.True(t, v.sound(), "%+v", v)
		})
	}
}
