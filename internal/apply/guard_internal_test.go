package apply

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// handlers calls each of handlers under a guard with limit, one after the other until one fails, in a batch that ends with ctx. It
// returns the calls that were begun.
func handlers(ctx context.Context, limit time.Duration, handlers ...func(ctx context.Context) error) (calls []*call, err error) {
	g := guard{batch: ctx, limit: limit}
	err = g.run(func() error {
		for _, h := range handlers {
			c := &call{}
			c.tx.uses = &c.uses
			calls = append(calls, c)
			if err := g.do(c, h); err != nil {
				return err
			}
		}
		return nil
	})
	return calls, err
}

// sleeps returns a handler that takes a time, and returns when its context ends.
func sleeps(d time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ignores returns a handler that returns after d, whatever becomes of its context.
func ignores(d time.Duration) func(context.Context) error {
	return func(context.Context) error {
		<-time.After(d)
		return nil
	}
}

// requireDone says that nothing that calls were given can be used any more.
func requireDone(t *testing.T, calls []*call) {
	t.Helper()
	for _, c := range calls {
		require.Error(t, c.context.Err())
		require.ErrorIs(t, c.tx.usable(), errReturned)
	}
}

func TestEachCallHasTheWholeTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var left []time.Duration
		handler := func(ctx context.Context) error {
			deadline, ok := ctx.Deadline()
			require.True(t, ok)
			left = append(left, time.Until(deadline))
			return sleeps(900 * time.Millisecond)(ctx)
		}
		calls, err := handlers(t.Context(), time.Second, handler, handler, handler, handler)
		require.NoError(t, err)
		require.Equal(t, 3600*time.Millisecond, time.Since(began))
		require.Equal(t, []time.Duration{time.Second, time.Second, time.Second, time.Second}, left)
		requireDone(t, calls)
	})
}

func TestCallEndsWithItsTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		calls, err := handlers(t.Context(), time.Second, sleeps(300*time.Millisecond), sleeps(time.Hour), func(context.Context) error {
			t.Error("a call after one that has failed")
			return nil
		})
		require.ErrorIs(t, err, errTimeout)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 1300*time.Millisecond, time.Since(began))
		require.Len(t, calls, 2)
		requireDone(t, calls)
		require.Equal(t, errTimeout, context.Cause(&calls[1].context))
	})
}

// One that comes back late, but without an error, has done its work.
func TestCallThatIsLateMaySucceed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls, err := handlers(t.Context(), time.Second, ignores(time.Second+hungAfter-1), sleeps(time.Millisecond))
		require.NoError(t, err)
		require.Len(t, calls, 2)
		requireDone(t, calls)
	})
}

func TestCallsEndWithTheBatch(t *testing.T) {
	t.Parallel()
	for _, limit := range []time.Duration{0, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeoutCause(t.Context(), 500*time.Millisecond, errStop)
			defer cancel()
			began := time.Now()
			calls, err := handlers(ctx, limit, sleeps(300*time.Millisecond), sleeps(10*time.Second))
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NotErrorIs(t, err, errTimeout)
			require.Equal(t, 500*time.Millisecond, time.Since(began))
			requireDone(t, calls)

			calls, err = handlers(ctx, limit, func(ctx context.Context) error { return context.Cause(ctx) })
			require.ErrorIs(t, err, errStop, "a call that begins then has ended")
			requireDone(t, calls)
		})
	}
}

func TestCallThatDoesNotComeBackIsGivenUp(t *testing.T) {
	t.Parallel()
	const limit = 5 * time.Second
	for name, of := range map[string]struct {
		limit, stop, after time.Duration
	}{
		"after its time":                  {limit: limit, after: time.Second + limit + hungAfter},
		"after the batch":                 {limit: limit, stop: 2 * time.Second, after: 2*time.Second + hungAfter},
		"after the batch, without a time": {stop: 2 * time.Second, after: 2*time.Second + hungAfter},
		"in a batch that is over":         {limit: limit, stop: time.Nanosecond, after: time.Second + hungAfter},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if of.stop > 0 {
					defer time.AfterFunc(of.stop, cancel).Stop()
				}
				began := time.Now()
				goOn := make(chan struct{})
				var calls []*call
				g := guard{batch: ctx, limit: of.limit}
				after := 0
				err := g.run(func() error {
					for _, h := range []func(context.Context) error{ignores(time.Second), func(context.Context) error { <-goOn; return errStop }} {
						c := &call{}
						c.tx.uses = &c.uses
						calls = append(calls, c)
						if err := g.do(c, h); err != nil {
							require.Equal(t, errGivenUp, err, "it has to leave everything alone")
							return err
						}
						after++
					}
					return nil
				})
				hung := Hung(err)
				require.NotNil(t, hung)
				require.Equal(t, of.after, time.Since(began))
				requireDone(t, calls)
				require.Equal(t, 1, after)
				select {
				case <-hung.Back:
					t.Error("it has not come back")
				default:
				}
				close(goOn)
				<-hung.Back
			})
		})
	}
}

func TestCallThatEndsItsGoroutineLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	calls, err := handlers(t.Context(), time.Minute, sleeps(0), func(context.Context) error {
		runtime.Goexit()
		return nil
	})
	require.ErrorIs(t, err, errExited)
	require.Len(t, calls, 2)
	requireDone(t, calls)
}

func TestPanicOfACallIsItsError(t *testing.T) {
	t.Parallel()
	calls, err := handlers(t.Context(), time.Minute, sleeps(0), func(context.Context) error { panic("oh no") })
	require.ErrorIs(t, err, errPanic)
	require.ErrorContains(t, err, "guard_internal_test.go:")
	require.Len(t, calls, 2)
	requireDone(t, calls)
}

func TestErrorOfACallIsNotChanged(t *testing.T) {
	t.Parallel()
	own := errors.New("of the handler")
	_, err := handlers(t.Context(), time.Minute, func(context.Context) error { return own })
	require.Equal(t, own, err)
}

// BenchmarkCall is one call of a handler that does nothing, among many of a batch.
func BenchmarkCall(b *testing.B) {
	b.ReportAllocs()
	g := guard{batch: b.Context(), limit: time.Minute}
	err := g.run(func() error {
		var calls []call
		for b.Loop() {
			if len(calls) == 0 {
				calls = make([]call, callsAtOnce)
			}
			c := &calls[0]
			calls = calls[1:]
			c.tx.uses = &c.uses
			if err := g.do(c, func(context.Context) error { return nil }); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}
