package signal

import (
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if job := os.Getenv("ROUSE_TEST_SIGNAL_CHILD"); job != "" {
		os.Exit(child(job))
	}
	goleak.VerifyTestMain(m)
}

func TestContext(t *testing.T) {
	t.Run("EndsWithItsParent", func(t *testing.T) {
		parent, cancel := context.WithCancelCause(t.Context())
		ctx, stop := watch(parent, func(int) { t.Error("exited") })
		defer stop()
		reason := errors.New("the parent's reason")
		cancel(reason)
		<-ctx.Done()
		require.ErrorIs(t, context.Cause(ctx), reason)
	})
	t.Run("StopEndsItAndCanBeRepeated", func(t *testing.T) {
		ctx, stop := watch(t.Context(), func(int) { t.Error("exited") })
		require.NoError(t, ctx.Err())
		stop()
		require.ErrorIs(t, context.Cause(ctx), context.Canceled)
		stop()
	})
	t.Run("StopWaitsForItsGoroutine", func(t *testing.T) {
		// The bubble fails the test if a goroutine is left when it ends.
		synctest.Test(t, func(t *testing.T) {
			_, stop := watch(t.Context(), func(int) { t.Error("exited") })
			stop()
		})
	})
}
