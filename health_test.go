package rouse_test

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
	operator "github.com/rouse-es/rouse/projection"
)

func ready(t *testing.T, r *running) {
	t.Helper()
	testdb.Eventually(t, patience, "the worker to be ready", func() (bool, error) { return r.Health(t.Context()).Ready(), nil })
}

// TestHealthNoticesADeadReader: when only the reader of the log is gone, every other loop ticks on, and an event that nobody
// reads shows it.
func TestHealthNoticesADeadReader(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w, err := rouse.New(b.Pool, rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}})
	require.NoError(t, err)
	var kill atomic.Bool
	dead := make(chan struct{})
	w.OnReading(func() {
		if kill.Load() {
			close(dead)
			runtime.Goexit()
		}
	})
	r := workertest.Run(t, w).WaitStarted()
	ready(t, r)

	kill.Store(true)
	b.append("Wake") // which may be read by a read that had begun
	select {
	case <-dead:
	case <-time.After(patience):
		require.Fail(t, "the reader does not read")
	}
	unread := b.append("Unread")
	var h rouse.Health
	testdb.Eventually(t, patience, "the dead reader to be noticed", func() (bool, error) {
		h = w.Health(t.Context())
		return !h.Alive(), nil
	})
	assert.Contains(t, h.Faults[0], "the reader of the log does not run")
	assert.Len(t, h.Faults, 1, "everything else runs: %v", h.Faults)
	assert.NotContains(t, b.done("p"), unread)
	require.NoError(t, r.Stop())
	assert.False(t, w.Health(t.Context()).Alive(), "it has ended")
}

// TestHealthIsNotLag: a worker that is behind because its handler takes its time is alive, and it is ready once it has been.
func TestHealthIsNotLag(t *testing.T) {
	t.Parallel()
	b := setup(t)
	entered, goOn := make(chan struct{}), make(chan struct{})
	r := b.start(b.Pool, rouse.Config{HandlerTimeout: -1, Projections: []rouse.Projection{projection{name: "p",
		hook: func(ctx context.Context, _ pgx.Tx, ev eventstore.Event) error {
			if ev.Type == "Slow" {
				close(entered)
				<-goOn
			}
			return nil
		}}}})
	assert.True(t, r.Health(t.Context()).Alive(), "it is about to start")
	ready(t, r.WaitStarted())
	b.append("Slow")
	<-entered
	b.appendAll("A", "B", "C")
	began := time.Now()
	testdb.Eventually(t, patience, "longer than a dead reader is borne", func() (bool, error) {
		h := r.Health(t.Context())
		assert.True(t, h.Ready(), "%+v", h)
		return time.Since(began) > 7*time.Second, nil
	})
	close(goOn)
	testdb.Eventually(t, patience, "the rest to be handled", func() (bool, error) { return len(b.done("p")) == 4, nil })
}

// TestHealthOfAPausedProjection: the operator wanted it so.
func TestHealthOfAPausedProjection(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := b.start(b.Pool, rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}}).WaitStarted()
	ready(t, r)
	require.NoError(t, operator.Pause(b.ctx, b.Pool, "p"))
	testdb.Eventually(t, patience, "the pause", func() (bool, error) { return r.Status().States["p"] == rouse.StatePaused, nil })
	b.append("Waits")
	h := r.Health(t.Context())
	assert.True(t, h.Ready(), "%+v", h)
}

// TestHealthOfAStoppedProjection: a new process would stop at the same event, so the worker is alive, but not ready.
func TestHealthOfAStoppedProjection(t *testing.T) {
	t.Parallel()
	b := setup(t)
	fails := func(context.Context, pgx.Tx, eventstore.Event) error { return rouse.Permanent(assert.AnError) }
	r := b.start(b.Pool, rouse.Config{OnFailure: rouse.Stop, Projections: []rouse.Projection{projection{name: "p", hook: fails}, projection{name: "q"}}}).WaitStarted()
	ready(t, r)
	b.append("Bad")
	testdb.Eventually(t, patience, "the stop", func() (bool, error) { return r.Status().States["p"] == rouse.StateStopped, nil })
	h := r.Health(t.Context())
	assert.True(t, h.Alive(), "%+v", h)
	assert.Equal(t, []string{"projection p is stopped"}, h.Waits)
}
