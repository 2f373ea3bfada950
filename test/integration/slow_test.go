package integration_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/test/process"
)

// This file has slow handlers: what one of them has in hand holds nobody else up, and is not lost. The workers read
// slowEvents at once, which takes each of them longer than the tests have.

const slowEvents = 2000

// soon is far more than a round of any handler here takes, and far less than all that they have read.
var soon = min(25*time.Second, patience)

// slowForms are the forms of a handler.
var slowForms = []string{"Apply", "ApplyBatch", "Do"}

// slow is a handler in one of the forms, which takes a time for each event.
type slow struct {
	recorder
	perEvent time.Duration
	begun    atomic.Int64                // the calls
	handled  atomic.Int64                // the events that it has done
	sizes    func(events int, err error) // called with the size of each batch of the batch form; nil: no matter
	pool     *pgxpool.Pool               // where an effect writes
}

// work takes the time of a number of events.
func (h *slow) work(ctx context.Context, events int) error {
	h.begun.Add(1)
	pauseFor(ctx, time.Duration(events)*h.perEvent)
	return ctx.Err()
}

func (h *slow) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	err := h.work(ctx, 1)
	if err == nil {
		err = h.recorder.Apply(ctx, tx, ev)
	}
	if err == nil {
		h.handled.Add(1)
	}
	return err
}

func (*slow) StartFrom() rouse.Start { return rouse.Beginning }

func (h *slow) Do(ctx context.Context, ev eventstore.Event) error {
	err := h.work(ctx, 1)
	if err == nil {
		_, err = h.pool.Exec(ctx, recordSQL, h.args(ev)...)
	}
	if err == nil {
		h.handled.Add(1)
	}
	return err
}

// slowBatch is slow in the batch form.
type slowBatch struct{ *slow }

func (h slowBatch) ApplyBatch(ctx context.Context, batch *pgx.Batch, events []eventstore.Event) error {
	err := h.work(ctx, len(events))
	if h.sizes != nil {
		h.sizes(len(events), err)
	}
	if err == nil {
		err = batchRecorder{h.recorder}.ApplyBatch(ctx, batch, events)
	}
	if err == nil {
		h.handled.Add(int64(len(events)))
	}
	return err
}

// config is the configuration of a worker that runs h in a form.
func (h *slow) config(form string) rouse.Config {
	cfg := rouse.Config{Label: h.worker, BatchSize: slowEvents}
	switch form {
	case "Apply":
		cfg.Projections = []rouse.Projection{h}
	case "ApplyBatch":
		cfg.Projections = []rouse.Projection{slowBatch{h}}
	case "Do":
		cfg.Effects = []rouse.Effect{h}
	}
	return cfg
}

// slow returns a handler for a worker with a label.
func (s *stage) slow(label string, perEvent time.Duration) *slow {
	return &slow{recorder: recorder{name: "p", worker: label}, perEvent: perEvent, pool: s.Pool}
}

// appendMany appends n events of so many aggregates.
func (s *stage) appendMany(name string, aggregates, n int) {
	s.t.Helper()
	s.exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 'thing', $1::text || n % $2::int, 1 + n / $2::int, 'happened', '{}' from generate_series(0, $3::int - 1) n order by n`, name, aggregates, n)
}

// owning waits until each of the labels owns a number of partitions.
func (s *stage) owning(n int, labels ...string) {
	s.t.Helper()
	for _, label := range labels {
		s.eventually(soon, fmt.Sprintf("%s to own %d partitions", label, n), `select count(*) = $2 from projection_checkpoints c
			join projection_workers w on w.instance_id = c.owner where w.label = $1`, label, n)
	}
}

// unsavedSQL counts the events that were handled and that no checkpoint has passed.
const unsavedSQL = `select count(*) from seen s join events e using (global_position)
	join projection_checkpoints c on c.projection_name = s.projection and c.partition = e.slot & 31
	where e.global_position > c.last_global_position`

// shared says that the workers have handled events once and in order, and have saved what they have handled.
func (s *stage) shared(handlers ...*slow) {
	s.t.Helper()
	var handled int64
	for _, h := range handlers {
		handled += h.handled.Load()
	}
	require.EqualValues(s.t, handled, s.int("select count(*) from seen"), "what was handled is committed")
	require.Zero(s.t, s.int(unsavedSQL), "what was handled is saved")
	found := s.faults("p")
	found.Lost = 0 // they are to come
	require.Equal(s.t, faults{}, found)
}

// working waits until h has handled more than a number of events.
func (s *stage) working(h *slow, than int64) {
	s.t.Helper()
	testdb.Eventually(s.t, soon, h.worker+" to handle events", func() (bool, error) { return h.handled.Load() > than, nil })
}

func TestWorkerThatJoinsGetsItsShareOfSlowEvents(t *testing.T) {
	t.Parallel()
	for _, form := range slowForms {
		for _, tc := range []struct {
			perEvent time.Duration
			lanes    int
		}{{20 * time.Millisecond, 1}, {20 * time.Millisecond, 3}, {time.Second, 1}} {
			t.Run(fmt.Sprintf("%s/%s/%d", form, tc.perEvent, tc.lanes), func(t *testing.T) {
				t.Parallel()
				s := newStage(t, testdb.New(t))
				s.appendMany("a", 200, slowEvents)
				first, second := s.slow("first", tc.perEvent), s.slow("second", tc.perEvent)
				cfg := first.config(form)
				cfg.Concurrency = tc.lanes
				a := s.start(s.pool(s.URL), cfg).WaitStarted()
				testdb.Eventually(t, patience, "the events to be in the handler", func() (bool, error) { return first.begun.Load() > 0, nil })
				b := s.start(s.pool(s.URL), second.config(form))
				s.owning(16, "first", "second")
				b.WaitStarted()
				s.working(second, 0)
				health := a.Health(s.ctx)
				assert.True(t, health.Alive(), "%+v", health)
				a.MustStop()
				b.MustStop()
				s.shared(first, second)
			})
		}
	}
}

// A worker that is told to stop finishes the event in hand, and not all that it has read. So workers that are told to stop
// all the time, as under rolling deploys or on machines that are taken away, come forward.
func TestStopsLoseNoFinishedWork(t *testing.T) {
	t.Parallel()
	for _, form := range slowForms {
		for _, lanes := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s/%d", form, lanes), func(t *testing.T) {
				t.Parallel()
				s := newStage(t, testdb.New(t))
				s.appendMany("a", 200, slowEvents)
				h := s.slow("worker", 20*time.Millisecond)
				for range 4 {
					before, begun := s.int("select count(*) from seen"), h.begun.Load()
					cfg := h.config(form)
					cfg.Concurrency, cfg.StopTimeout = lanes, 5*time.Second
					w := s.start(s.pool(s.URL), cfg).WaitStarted()
					testdb.Eventually(t, patience, "the events to be in the handler", func() (bool, error) { return h.begun.Load() > begun, nil })
					w.MustStop()
					require.Greater(t, s.int("select count(*) from seen"), before)
					s.shared(h)
				}
			})
		}
	}
}

func init() { roles["slow worker"] = slowWorker }

const slowFormEnv = "ROUSE_TEST_WORKER_FORM"

// slowWorker is the main function of a worker process with a handler of 20 ms an event.
func slowWorker() int {
	process.OutliveNobody()
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, os.Getenv(urlEnv))
	if err == nil {
		h := (&stage{DB: &testdb.DB{Pool: pool}}).slow("victim", 20*time.Millisecond)
		var w *rouse.Worker
		if w, err = rouse.New(pool, h.config(os.Getenv(slowFormEnv))); err == nil {
			err = w.Run(ctx)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// A process that is killed loses the work of a second at most, and not of all that it has read: effects of that second are
// done again.
func TestKilledWorkerHasSavedAllButTheLastSecond(t *testing.T) {
	t.Parallel()
	for _, form := range slowForms {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, testdb.New(t))
			s.appendMany("a", 200, slowEvents)
			victim, err := process.Start(t, process.Command(t, "slow worker", urlEnv+"="+s.URL, slowFormEnv+"="+form), "victim", process.Options{})
			require.NoError(t, err)
			s.eventually(patience, "the victim to have done 150 events", "select count(*) >= 150 from seen")
			victim.Kill()
			again := s.int(unsavedSQL)
			require.LessOrEqual(t, again, int64(75), "50 events are a second")

			s.start(s.pool(s.URL), s.slow("successor", 0).config(form)).WaitStarted()
			s.caughtUp("p", patience)
			found := s.faults("p")
			if form == "Do" {
				require.LessOrEqual(t, found.Doubled, again)
				found.Doubled, found.Reordered = 0, 0 // the last ones came again
			}
			require.Equal(t, faults{}, found)
		})
	}
}

// While one partition has its slow events, the others are moved on as far as those are done, and the worker is in good health.
func TestIdlePartitionsMoveOnBesideSlowEvents(t *testing.T) {
	t.Parallel()
	for _, form := range slowForms {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, testdb.New(t))
			s.appendMany("slow", 1, 60)
			h := s.slow("worker", time.Second)
			w := s.start(s.pool(s.URL), h.config(form)).WaitStarted()
			for _, event := range []int{2, 5} {
				s.eventually(soon, fmt.Sprintf("all partitions to pass event %d", event),
					"select bool_and(last_global_position >= $1) from projection_checkpoints", event)
				health := w.Health(s.ctx)
				assert.True(t, health.Alive(), "%+v", health)
			}
			w.MustStop()
			s.shared(h)
		})
	}
}

// A batch that runs out of the handler's time is no event's fault, and its size does not come again. Where the machine stands still,
// batches run out of time that have every right not to, and then there is another try.
func TestBatchThatRanOutOfTimeIsNotTriedAgainWhole(t *testing.T) {
	t.Parallel()
	for range 10 {
		calm := false
		t.Run("try", func(t *testing.T) { calm = runsOutOfTime(t) })
		if calm || t.Failed() {
			return
		}
	}
	t.Fatal("no try in which the machine had the time")
}

// runsOutOfTime is one try, and reports whether only batches ran out of time that were too large for it.
func runsOutOfTime(t *testing.T) (calm bool) {
	const limit, perEvent = time.Second, 10 * time.Millisecond
	s := newStage(t, testdb.New(t))
	s.appendMany("a", 10, 300)
	h := s.slow("worker", perEvent)
	var mu sync.Mutex // protects the next two
	var late, all []int
	h.sizes = func(events int, err error) {
		mu.Lock()
		defer mu.Unlock()
		if all = append(all, events); err != nil {
			late = append(late, events)
		}
	}
	var log bytes.Buffer
	cfg := h.config("ApplyBatch")
	cfg.HandlerTimeout, cfg.BatchTime, cfg.Log = limit, -1, zerolog.New(zerolog.SyncWriter(&log))
	w := s.start(s.pool(s.URL), cfg).WaitStarted()
	s.exact("p")
	w.MustStop()
	if slices.ContainsFunc(late, func(events int) bool { return time.Duration(events)*perEvent < limit*9/10 }) {
		t.Logf("the machine stood still: %v of %v ran out of time", late, all)
		return false
	}
	require.NotEmpty(t, late, "the handler's time must not suffice for all, or nothing is shown")
	for i, size := range late {
		for _, other := range late[i+1:] {
			require.LessOrEqual(t, other, size/2, "%v of %v ran out of time", late, all)
		}
	}
	require.Contains(t, log.String(), "a batch has run out of the handler's time")
	require.NotContains(t, log.String(), "handling failed")
	require.Zero(t, s.int("select count(*) from event_attempts"))
	return true
}

// timed is a handler with a time of its own.
type timed struct {
	*slow
	time time.Duration
}

func (h timed) BatchTime() time.Duration { return h.time }

func TestBatchTimeOfAHandlerComesBeforeThatOfTheConfig(t *testing.T) {
	t.Parallel()
	for _, handler := range []time.Duration{100 * time.Millisecond, 0} {
		t.Run(handler.String(), func(t *testing.T) {
			t.Parallel()
			s := newStage(t, testdb.New(t))
			s.appendMany("a", 200, slowEvents)
			h := s.slow("worker", 20*time.Millisecond)
			cfg := h.config("Apply")
			cfg.BatchTime, cfg.Projections = time.Hour, []rouse.Projection{timed{h, handler}}
			if handler == 0 { // which leaves it to the config
				cfg.BatchTime = 100 * time.Millisecond
			}
			s.start(s.pool(s.URL), cfg).WaitStarted()
			s.eventually(soon, "the first events to be committed", "select exists (select from seen)")
		})
	}
}
