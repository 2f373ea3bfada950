package apply

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

type (
	valueKey    struct{}
	handlersKey struct{}
)

var errStop = errors.New("stop")

// ends are the ways in which the context of a call ends; each is given what ends the batch's and the call.
var ends = map[string]struct {
	end        func(c *callContext, stopBatch context.CancelCauseFunc)
	err, cause error
}{
	"the call returns": {func(c *callContext, _ context.CancelCauseFunc) { c.end(returned) }, context.Canceled, context.Canceled},
	"its time is over": {func(c *callContext, _ context.CancelCauseFunc) { c.end(overtime) }, context.DeadlineExceeded, errTimeout},
	"the batch ends": {func(c *callContext, stopBatch context.CancelCauseFunc) {
		stopBatch(errStop)
		c.end(c.batch)
	}, context.Canceled, errStop},
}

// callOf returns the context of a call in a batch, and what ends that of the batch.
func callOf(t *testing.T) (c *callContext, stopBatch context.CancelCauseFunc) {
	t.Helper()
	batch, cancel := context.WithCancelCause(context.WithValue(t.Context(), valueKey{}, "of the batch"))
	t.Cleanup(func() { cancel(nil) })
	return &callContext{batch: batch}, cancel
}

// requireOver says that ctx has ended with err for cause.
func requireOver(ctx context.Context, t *testing.T, err, cause error) {
	t.Helper()
	<-ctx.Done()
	require.Equal(t, err, ctx.Err())
	require.Equal(t, cause, context.Cause(ctx))
}

func TestContextOfACallEndsWithAllThatComesFromIt(t *testing.T) {
	t.Parallel()
	for name, of := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, stopBatch := callOf(t)
			withValue := context.WithValue(c, handlersKey{}, "of the handler")
			timed, cancel := context.WithTimeout(withValue, time.Hour)
			defer cancel()
			below, cancelBelow := context.WithCancel(timed)
			defer cancelBelow()
			apart := context.WithoutCancel(c)
			called := make(chan struct{})
			stop := context.AfterFunc(c, func() { close(called) })
			require.NoError(t, c.Err())
			require.NoError(t, context.Cause(c))
			require.NoError(t, below.Err())
			asked := c.Done()

			of.end(c, stopBatch)
			<-asked
			<-called
			require.False(t, stop())
			requireOver(c, t, of.err, of.cause)
			requireOver(withValue, t, of.err, of.cause)
			requireOver(timed, t, of.err, of.cause)
			requireOver(below, t, of.err, of.cause)
			require.Equal(t, "of the batch", below.Value(valueKey{}), "what it carries is there for ever")
			require.NoError(t, apart.Err())

			after, cancelAfter := context.WithTimeout(c, time.Hour)
			defer cancelAfter()
			requireOver(after, t, of.err, of.cause)
			late := make(chan struct{})
			stop = c.AfterFunc(func() { close(late) }) // which package context may do after it has looked
			<-late
			require.False(t, stop())
		})
	}
}

func TestContextOfACallEndsOnce(t *testing.T) {
	t.Parallel()
	for first, of := range ends {
		for second, then := range ends {
			t.Run(fmt.Sprintf("%s, then %s", first, second), func(t *testing.T) {
				t.Parallel()
				c, stopBatch := callOf(t)
				of.end(c, stopBatch)
				then.end(c, stopBatch)
				requireOver(c, t, of.err, of.cause)
			})
		}
	}
}

func TestContextOfACallHasTheEarlierDeadline(t *testing.T) {
	t.Parallel()
	now := time.Now()
	none, ofBatch := t.Context(), now.Add(time.Hour)
	hour, cancel := context.WithDeadline(none, ofBatch)
	defer cancel()
	for _, tt := range []struct {
		batch    context.Context
		own, due time.Time
	}{
		{none, time.Time{}, time.Time{}},
		{none, now.Add(time.Minute), now.Add(time.Minute)},
		{hour, time.Time{}, ofBatch},
		{hour, now.Add(time.Minute), now.Add(time.Minute)},
		{hour, now.Add(2 * time.Hour), ofBatch},
	} {
		due, ok := (&callContext{batch: tt.batch, deadline: tt.own}).Deadline()
		require.Equal(t, tt.due, due)
		require.Equal(t, !tt.due.IsZero(), ok)
	}
}

// What a handler derives and cancels leaves nothing behind, however often it does so, and has ended by itself only.
func TestContextOfACallForgetsWhatHasEndedBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &callContext{batch: t.Context()}
		for range 100 {
			timed, cancel := context.WithTimeout(c, time.Second)
			cancel()
			requireOver(timed, t, context.Canceled, context.Canceled)
		}
		require.True(t, context.AfterFunc(c, func() { t.Error("it was stopped") })())
		short, cancel := context.WithTimeout(c, time.Second)
		defer cancel()
		requireOver(short, t, context.DeadlineExceeded, context.DeadlineExceeded)
		synctest.Wait()
		require.Empty(t, c.after)
		require.NoError(t, c.Err())
		c.end(returned)
		synctest.Wait() // a function that was stopped would be called by now
	})
}

func TestContextOfACallServesManyGoroutines(t *testing.T) {
	t.Parallel()
	for name, of := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, stopBatch := callOf(t)
			var users sync.WaitGroup
			for range 16 {
				users.Go(func() {
					for c.Err() == nil {
						below, cancel := context.WithTimeout(c, time.Minute)
						_ = fmt.Sprint(below, below.Value(valueKey{}))
						stop := context.AfterFunc(c, func() {})
						cancel()
						stop()
						select {
						case <-c.Done():
						default:
						}
					}
					if err := context.Cause(c); !errors.Is(err, of.cause) {
						t.Errorf("it has ended by %v", err)
					}
				})
			}
			of.end(c, stopBatch)
			users.Wait()
		})
	}
}
