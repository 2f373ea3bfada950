package rousetest

import (
	"context"
	_ "embed" // the statements
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/events"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/parked"
)

var (
	//go:embed sql/hold.sql
	holdSQL string
	//go:embed sql/unhold.sql
	unholdSQL string
	//go:embed sql/release.sql
	releaseSQL string
	//go:embed sql/run.sql
	runSQL string
	//go:embed sql/advance.sql
	advanceSQL string
	//go:embed sql/due.sql
	dueSQL string
)

// Handler is a rouse.Projection, a rouse.Effect, or a rouse.Queuer.
type Handler interface{ Name() string }

// Append appends events to the end of a stream: values of types that are registered with package events, or an eventstore.NewEvent each.
func (db *DB) Append(t testing.TB, stream eventstore.Stream, values ...any) (appended eventstore.Appended) {
	t.Helper()
	all := make([]eventstore.NewEvent, len(values))
	for i, v := range values {
		var err error
		if all[i], err = newEvent(events.Default, v); err != nil {
			t.Fatalf("rousetest: append to %s: %v", stream, err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := pgx.BeginFunc(ctx, db.Pool, func(tx pgx.Tx) (err error) {
		appended, err = eventstore.Append(ctx, tx, stream, eventstore.Any(), all...)
		return err
	})
	if err != nil {
		t.Fatalf("rousetest: append to %s: %v", stream, err)
	}
	return appended
}

// Expect checks what a query returns: these rows, in this order.
func (db *DB) Expect(t testing.TB, sql string, rows ...Row) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	got, err := query(ctx, db.Pool, sql)
	if err != nil {
		t.Fatalf("rousetest: %s: %v", sql, err)
	}
	if d := difference(rows, got); d != "" {
		t.Errorf("rousetest: %s\n%s", sql, d)
	}
}

// Parked returns the events that a projection or effect has set aside.
func (db *DB) Parked(t testing.TB, projection string) []parked.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	events, err := parked.List(ctx, db.Pool, parked.Filter{Projection: projection}, 0)
	if err != nil {
		t.Fatalf("rousetest: %v", err)
	}
	return events
}

// Drain runs a worker with these handlers until everything that was committed is handled, by each of them, and everything that was set
// aside and is due was tried. An effect begins at the beginning of the log unless it says otherwise.
//
// For what is set aside time stands still from the first Drain on: an event that fails is tried once, however slow the machine is. Advance
// makes it due, and the next Drain tries it again.
// The warnings of the worker are in the log of the test. The test fails if this takes longer than 30 seconds, as it does with a
// projection that is paused, or that waits because its handler has returned rouse.Unavailable.
func (db *DB) Drain(t testing.TB, handlers ...Handler) {
	t.Helper()
	cfg := rouse.Config{Label: t.Name(), StartFrom: rouse.Beginning, Log: logOf(t)}
	names := make([]string, len(handlers))
	for i, h := range handlers {
		names[i] = h.Name()
		switch h := h.(type) {
		case rouse.Projection:
			cfg.Projections = append(cfg.Projections, h)
		case rouse.Effect:
			cfg.Effects = append(cfg.Effects, h)
		case rouse.Queuer:
			cfg.Projections = append(cfg.Projections, rouse.Batched(h))
		default:
			t.Fatalf("rousetest: %T is no rouse.Projection, no rouse.Effect and no rouse.Queuer", h)
		}
	}
	if err := db.drain(cfg, names); err != nil {
		t.Fatalf("rousetest: drain: %v", err)
	}
}

// drain runs workers while the clock stands still, until nothing is to be done.
func (db *DB) drain(cfg rouse.Config, names []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := db.exec(ctx, holdSQL); err != nil {
		return err
	}
	err := db.untilDone(ctx, cfg, names)
	for _, sql := range []string{unholdSQL, releaseSQL} {
		if execErr := db.exec(context.WithoutCancel(ctx), sql); err == nil {
			err = execErr
		}
	}
	return err
}

func (db *DB) untilDone(ctx context.Context, cfg rouse.Config, names []string) error {
	for due := true; due; {
		worker, err := rouse.New(db.Pool, cfg)
		if err != nil {
			return err
		}
		w := start(worker)
		err = w.begun(ctx)
		if err == nil {
			err = worker.Drain(ctx)
		}
		if err == nil {
			err = db.untilNothingIsDue(ctx, names)
		}
		if err != nil && ctx.Err() != nil {
			err = fmt.Errorf("not everything was handled within %s: %v", patience, worker.Status().States)
		}
		if ended := w.end(); err == nil {
			err = ended
		}
		if err != nil {
			return err
		}
		// A try that was under way at the end may have made the next event of its queue due.
		if due, err = db.due(ctx, names); err != nil {
			return err
		}
	}
	return nil
}

// untilNothingIsDue waits for the worker that runs.
func (db *DB) untilNothingIsDue(ctx context.Context, names []string) error {
	for {
		if due, err := db.due(ctx, names); err != nil || !due {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (db *DB) due(ctx context.Context, names []string) (due bool, err error) {
	err = db.Pool.QueryRow(ctx, dueSQL, names).Scan(&due)
	return due, err
}

// Advance lets time pass for what was set aside: an event that was to be tried again, or not before a time, within d is due now. The next
// Drain tries it, once; a worker that runs comes to it within ten seconds. The clock of the database, now() and the times of events are
// not changed.
func (db *DB) Advance(t testing.TB, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := db.exec(ctx, advanceSQL, d.Seconds()); err != nil {
		t.Fatalf("rousetest: advance: %v", err)
	}
}

func (db *DB) exec(ctx context.Context, sql string, args ...any) error {
	_, err := db.Pool.Exec(ctx, sql, args...)
	return err
}

// Worker is a worker that runs beside a test.
type Worker struct {
	*rouse.Worker
	running *running
}

// Worker runs a worker until the end of the test, or until Stop. It returns once the worker has claimed its partitions. Where cfg does
// not say so, the worker writes its warnings to the log of the test, and an effect begins at the beginning of the log. Drain of what it
// returns waits until everything is handled. The test fails if the worker ends with an error. Beside a worker time passes as it does.
func (db *DB) Worker(t testing.TB, cfg rouse.Config) *Worker {
	t.Helper()
	if cfg.StartFrom == "" {
		cfg.StartFrom = rouse.Beginning
	}
	if cfg.Label == "" {
		cfg.Label = t.Name()
	}
	if reflect.ValueOf(cfg.Log).IsZero() {
		cfg.Log = logOf(t)
	}
	worker, err := rouse.New(db.Pool, cfg)
	if err != nil {
		t.Fatalf("rousetest: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := db.exec(ctx, runSQL); err != nil {
		t.Fatalf("rousetest: %v", err)
	}
	w := &Worker{Worker: worker, running: start(worker)}
	t.Cleanup(func() { w.Stop(t) })
	if err := w.running.begun(ctx); err != nil {
		t.Fatalf("rousetest: the worker has not begun: %v", err)
	}
	return w
}

// Stop ends the worker in order, and fails the test if that is not possible. A second call does nothing.
func (w *Worker) Stop(t testing.TB) {
	t.Helper()
	if err := w.running.end(); err != nil && !w.running.told {
		w.running.told = true
		t.Errorf("rousetest: the worker has ended with an error: %v", err)
	}
}

// running is a worker whose Run was called. Whoever has it ends it.
type running struct {
	worker *rouse.Worker
	cancel context.CancelFunc
	done   chan struct{}
	err    error // of Run; good once done is closed
	told   bool
}

func start(worker *rouse.Worker) *running {
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{worker: worker, cancel: cancel, done: make(chan struct{})}
	go func() { // end waits for it
		defer close(r.done)
		r.err = worker.Run(ctx)
	}()
	return r
}

// begun waits until the worker has claimed its partitions.
func (r *running) begun(ctx context.Context) error {
	select {
	case <-r.worker.Started():
		return nil
	case <-r.done:
		if r.err == nil {
			return rouse.ErrEnded
		}
		return r.err
	case <-ctx.Done():
		return fmt.Errorf("within %s: %v", patience, r.worker.Status().States)
	}
}

// end ends the worker and returns what Run has returned.
func (r *running) end() error {
	r.cancel()
	<-r.done
	return r.err
}

// logOf returns a log whose warnings are in the log of a test, which is shown where the test fails, or with -v.
func logOf(t testing.TB) zerolog.Logger {
	return zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel)
}
