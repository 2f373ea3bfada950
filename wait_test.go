package rouse_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
)

// appended appends events to an aggregate of its own through pool, and returns what Append has returned.
func (b *bundle) appended(pool *pgxpool.Pool, types ...string) eventstore.Appended {
	b.t.Helper()
	return b.appendedTo(pool, eventstore.Stream{Type: "thing", ID: eventstore.NewID().String()}, types...)
}

func (b *bundle) appendedTo(pool *pgxpool.Pool, stream eventstore.Stream, types ...string) (a eventstore.Appended) {
	b.t.Helper()
	var events []eventstore.NewEvent
	for _, t := range types {
		events = append(events, eventstore.NewEvent{Type: t, Payload: json.RawMessage(`{}`)})
	}
	require.NoError(b.t, pgx.BeginFunc(b.ctx, pool, func(tx pgx.Tx) (err error) {
		a, err = eventstore.Append(b.ctx, tx, stream, eventstore.Any(), events...)
		return err
	}))
	return a
}

// onlyEffect is an effect that writes down what it has done.
type onlyEffect struct {
	b    *bundle
	name string
}

func (e onlyEffect) Name() string { return e.name }

func (e onlyEffect) Do(ctx context.Context, ev eventstore.Event) error {
	_, err := e.b.Pool.Exec(ctx, doneSQL, e.name, ev.GlobalPosition)
	return err
}

// Whoever has waited finds the events in the read model, whatever kind of handler it is, and however many wait at once.
func TestWaitForReturnsWhenTheEventsAreInTheReadModel(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]func(b *bundle) rouse.Config{
		"alone": func(*bundle) rouse.Config {
			return rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}}
		},
		"batch": func(*bundle) rouse.Config {
			return rouse.Config{Projections: []rouse.Projection{batched{projection: projection{name: "p"}}}}
		},
		"effect": func(b *bundle) rouse.Config { return rouse.Config{Effects: []rouse.Effect{onlyEffect{b, "p"}}} },
		"joint": func(*bundle) rouse.Config {
			return rouse.Config{Projections: []rouse.Projection{batched{projection: projection{name: "p"}}, batched{projection: projection{name: "q"}}}}
		},
		"lanes": func(*bundle) rouse.Config {
			return rouse.Config{Concurrency: 4, Projections: []rouse.Projection{projection{name: "p"}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.start(b.pool(pgx.QueryExecModeCacheStatement), cfg(b)).WaitStarted()
			b.start(b.pool(pgx.QueryExecModeExec), cfg(b)).WaitStarted()
			other := b.pool(pgx.QueryExecModeCacheStatement)
			var wg sync.WaitGroup
			for n := range 8 {
				wg.Go(func() {
					for i := range 10 {
						a := b.appended(other, []string{"a", "b", "c"}[:1+(n+i)%3]...)
						if err := rouse.WaitFor(b.ctx, other, "p", a); err != nil {
							t.Errorf("wait: %v", err)
							return
						}
						for _, at := range a.Positions {
							if got := b.int("select count(*) from done where projection = 'p' and position = $1", at); got != 1 {
								t.Errorf("event %d is in the read model %d times", at, got)
							}
						}
					}
				})
			}
			wg.Wait()
			a, c := b.appended(other, "x", "y"), b.appended(other, "z")
			require.NoError(t, rouse.WaitFor(b.ctx, other, "p", a, c))
			require.NoError(t, rouse.WaitFor(b.ctx, other, "p", a, c), "it has been there for long")
			last := b.append("head")
			require.NoError(t, rouse.WaitForHead(b.ctx, other, "p"))
			require.Contains(t, b.done("p"), last)
			last = b.append("position")
			require.NoError(t, rouse.WaitForPosition(b.ctx, other, "p", last))
			require.Contains(t, b.done("p"), last)
			require.Equal(t, fmt.Sprint(len(b.done("p"))), fmt.Sprint(b.int("select count(*) from events")))
		})
	}
}
