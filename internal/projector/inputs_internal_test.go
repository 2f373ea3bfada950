package projector

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/eventstore"
)

// Whatever is read ahead, and whatever else there is to do, what tells a worker to leave comes first. Go's select takes any of
// the channels that are ready, so each is tried often.
func TestWhatTellsToLeaveComesBeforeInput(t *testing.T) {
	t.Parallel()
	over, end := context.WithCancel(context.Background())
	end()
	closed := make(chan struct{})
	close(closed)
	for name, tc := range map[string]struct {
		ctx, workCtx context.Context
		changed      chan struct{}
		tick, due    bool
		rest         bool
		want         occasion
	}{
		"stop":              {ctx: over, workCtx: over, changed: closed, tick: true, due: true, rest: true, want: stopped},
		"no trust":          {workCtx: over, changed: closed, tick: true, due: true, rest: true, want: untrusted},
		"another member":    {changed: closed, tick: true, due: true, rest: true, want: sharesChanged},
		"sweep":             {tick: true, due: true, rest: true, want: sweepDue},
		"retry":             {due: true, rest: true, want: retryDue},
		"rest before input": {rest: true, want: batchLeft},
		"input":             {want: batchRead},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 100 {
				s := &session{Projector: &Projector{}, rest: catchup.Batch{To: 1, Events: make([]eventstore.Event, 1)}}
				s.shares = shares{balanced: true, changed: tc.changed}
				batches := make(chan catchup.Batch, 1)
				batches <- catchup.Batch{To: 2}
				ctx, workCtx := tc.ctx, tc.workCtx
				if ctx == nil {
					ctx = t.Context()
				}
				if workCtx == nil {
					workCtx = t.Context()
				}
				what, _ := s.next(ctx, workCtx, inputs{batches: batches, rest: tc.rest, tick: fires(tc.tick), due: fires(tc.due)})
				assert.Equal(t, tc.want, what)
			}
		})
	}
}

// fires returns a channel that has a time if is is true.
func fires(is bool) <-chan time.Time {
	c := make(chan time.Time, 1)
	if is {
		c <- time.Time{}
	}
	return c
}
