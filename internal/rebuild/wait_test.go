package rebuild_test

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/workertest"
	"github.com/rouse-es/rouse/projection"
)

// written appends an event of a type of its own.
func (b *bundle) written(eventType string) (a eventstore.Appended, err error) {
	err = pgx.BeginFunc(b.ctx, b.Pool, func(tx pgx.Tx) (err error) {
		a, err = eventstore.Append(b.ctx, tx, eventstore.Stream{Type: "thing", ID: eventstore.NewID().String()}, eventstore.Any(),
			eventstore.NewEvent{Type: eventType, Payload: json.RawMessage(`{}`)})
		return err
	})
	return a, err
}

// reads has some write, wait and read what they have written, all the time, until stop is called, which returns how often they did.
func (b *bundle) reads(n int) (stop func() int64) {
	done := make(chan struct{})
	var all sync.WaitGroup
	counts := make([]int64, n)
	for r := range n {
		all.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				eventType := fmt.Sprintf("r%d-%d", r, i)
				a, err := b.written(eventType)
				if assert.NoError(b.t, err) {
					if r%3 == 0 {
						err = rouse.WaitForHead(b.ctx, b.Pool, "p")
					} else {
						err = rouse.WaitFor(b.ctx, b.Pool, "p", a)
					}
				}
				var found int64
				if err == nil {
					err = b.Pool.QueryRow(b.ctx, "select coalesce(sum(n), 0) from counts where type = $1", eventType).Scan(&found)
				}
				if !assert.NoError(b.t, err) || !assert.Positive(b.t, found, "the event %s is not in the read model", eventType) {
					return
				}
				counts[r]++
			}
		})
	}
	var once sync.Once
	end := func() (total int64) {
		once.Do(func() { close(done) })
		all.Wait()
		for _, n := range counts {
			total += n
		}
		return total
	}
	b.t.Cleanup(func() { end() })
	return end
}

// Whoever has waited finds the event in the read model, whichever it is: the places change under those who wait, and a worker that drains.
func TestWhoHasWaitedFindsItWhileReadModelsChangePlaces(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(100, "e")
	old, young := b.versions()
	stop := b.reads(6)
	drained := make(chan error, 1)
	go func() {
		var err error
		for i := 0; i < 20 && err == nil; i++ {
			for _, w := range []*workertest.Worker{old, young} {
				if err == nil {
					err = w.Drain(b.ctx)
				}
			}
		}
		drained <- err
	}()
	for range 2 {
		_, err := projection.Promote(b.ctx, b.Pool, "p", 2)
		require.NoError(t, err)
		b.beside("p@1", "near", ready)
		_, err = projection.Promote(b.ctx, b.Pool, "p", 1)
		require.NoError(t, err)
		b.beside("p@2", "near", ready)
	}
	require.NoError(t, projection.Rebuild(b.ctx, b.Pool, "p", "", nil))
	require.NoError(t, <-drained)
	require.Positive(t, stop())
	require.NoError(t, rouse.WaitForHead(b.ctx, b.Pool, "p@2"), "what is beside can be waited for, too")
}
