package apply

import (
	"context"

	"github.com/rouse-es/rouse/eventstore"
)

// do calls the effect with ev, between the hooks Began and Ended, and does m meanwhile.
func (c *committer) do(ctx context.Context, ev eventstore.Event, m meanwhile) error {
	one := []eventstore.Event{ev}
	ctx, partitions := c.began(ctx, one)
	err := c.callDo(ctx, ev, m)
	if err == nil {
		c.breaker.succeeded()
	}
	c.ended(ctx, partitions, one, err)
	return err
}

// callDo calls the effect with ev, under its time limit and the epoch of its partition. Its error, of whatever database, says
// nothing about this one.
func (c *committer) callDo(ctx context.Context, ev eventstore.Event, m meanwhile) error {
	fence := *c.checkpoints.fence(ev) // a copy, because its floor may move meanwhile
	err := callEach(ctx, c.run.tx.limit, ev, m, func(ctx context.Context) error {
		return c.run.handler.Do(ctx, fence.Partition, fence.Epoch, ev)
	})
	if err != nil && Hung(err) == nil {
		return told{err}
	}
	return err
}

// saveUpTo moves the checkpoints past the first done of events, of which the first saved are saved, and returns how many
// are saved then.
func (c *committer) saveUpTo(ctx context.Context, events []eventstore.Event, saved, done int) (int, error) {
	if err := c.saveDone(ctx, events[saved:done]); err != nil {
		return saved, err
	}
	return done, nil
}

// saveDone moves the checkpoints past events, which an effect has done.
func (c *committer) saveDone(ctx context.Context, events []eventstore.Event) error {
	if len(events) == 0 {
		return nil
	}
	b := c.prepare(events)
	return c.conclude(b, len(events), c.run.tx.save(ctx, b.end))
}
