// Package workertest runs workers in tests, and programs.
package workertest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/testdb"
)

// PatienceEnv names the environment variable that shortens Patience where a test is expected to fail, such as 10s.
const PatienceEnv = "ROUSE_TEST_PATIENCE"

// Patience bounds everything that a test waits for. Not to be changed.
var Patience = patience()

func patience() time.Duration {
	if short, err := time.ParseDuration(os.Getenv(PatienceEnv)); err == nil {
		return short
	}
	return 3 * time.Minute
}

// Worker is a worker that runs until it is stopped, or its test ends. Its methods are for the goroutine of the test.
type Worker struct {
	*rouse.Worker
	t      testing.TB
	cancel context.CancelFunc
	done   chan struct{}
	err    error // good once done is closed
}

// Start makes a worker that is Logged and runs it.
func Start(t testing.TB, pool *pgxpool.Pool, cfg rouse.Config) *Worker {
	t.Helper()
	return Run(t, New(t, pool, Logged(t, cfg)))
}

// Logged returns cfg with a log whose warnings are shown where the test fails, unless cfg has a log. With ROUSE_TEST_LOG and -v
// the whole log is the test's.
func Logged(t testing.TB, cfg rouse.Config) rouse.Config {
	t.Helper()
	switch {
	case testing.Verbose() && os.Getenv("ROUSE_TEST_LOG") != "":
		cfg.Log = zerolog.New(zerolog.NewTestWriter(t)).With().Timestamp().Logger()
	case reflect.ValueOf(cfg.Log).IsZero():
		cfg.Log = warnings(t)
	}
	return cfg
}

// warnings returns a log whose warnings are shown at the end of the test if it has failed.
func warnings(t testing.TB) zerolog.Logger {
	var lines bytes.Buffer
	t.Cleanup(func() { // behind the one of Run, after which nobody writes
		if t.Failed() {
			t.Logf("the worker's log:\n%s", &lines)
		}
	})
	return zerolog.New(zerolog.SyncWriter(&lines)).Level(zerolog.WarnLevel).With().Timestamp().Logger()
}

// New makes a worker, which must succeed.
func New(t testing.TB, pool *pgxpool.Pool, cfg rouse.Config) *rouse.Worker {
	t.Helper()
	w, err := rouse.New(pool, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// Run runs a worker.
func Run(t testing.TB, worker *rouse.Worker) *Worker {
	ctx, cancel := context.WithCancel(context.Background())
	w := &Worker{Worker: worker, t: t, cancel: cancel, done: make(chan struct{})}
	go func() {
		w.err = worker.Run(ctx)
		close(w.done)
	}()
	t.Cleanup(func() { w.cancel(); <-w.done })
	return w
}

// WaitStarted waits until the worker has claimed for the first time, and returns the worker.
func (w *Worker) WaitStarted() *Worker {
	w.t.Helper()
	select {
	case <-w.Started():
	case <-w.done:
		w.t.Fatalf("the worker ended: %v", w.err)
	case <-time.After(Patience):
		w.t.Fatal("the worker has not started")
	}
	return w
}

// WaitState waits until a projection is in a state.
func (w *Worker) WaitState(projection string, state rouse.State) {
	w.t.Helper()
	testdb.Eventually(w.t, Patience, fmt.Sprintf("%s to be %s", projection, state), func() (bool, error) {
		return w.Status().States[projection] == state, nil
	})
}

// Cancel tells the worker to stop, and does not wait.
func (w *Worker) Cancel() { w.cancel() }

// Stop ends the worker and returns what Run returned.
func (w *Worker) Stop() error {
	w.t.Helper()
	w.cancel()
	return w.Wait()
}

// MustStop ends the worker in order.
func (w *Worker) MustStop() {
	w.t.Helper()
	if err := w.Stop(); err != nil {
		w.t.Fatalf("the worker has not stopped in order: %v", err)
	}
}

// Wait waits for the end of Run and returns its error.
func (w *Worker) Wait() error {
	w.t.Helper()
	select {
	case <-w.done:
	case <-time.After(Patience):
		w.t.Fatal("the worker does not end")
	}
	return w.err
}

// Drain runs a fresh worker until everything is handled and returns what Drain returned.
func Drain(t testing.TB, pool *pgxpool.Pool, cfg rouse.Config) error {
	t.Helper()
	w := New(t, pool, cfg)
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	return w.Drain(ctx)
}
