package integration_test

import (
	"bytes"
	"context"
	"net/url"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/pgserver"
	"github.com/rouse-es/rouse/internal/testdb"
)

// lazyDisk makes a crash lose as much as it can: what commits asynchronously stays in memory for ten seconds, or until it
// fills a page.
var lazyDisk = map[string]string{"wal_writer_delay": "10s", "bgwriter_lru_maxpages": "0", "autovacuum": "off", "checkpoint_timeout": "1h"}

// onCrashServer is a stage on a server of its own, where nothing but what insists on it is flushed.
func onCrashServer(t *testing.T) (*stage, *pgserver.Server) {
	t.Helper()
	server := testdb.Server(t, lazyDisk)
	s := newStage(t, testdb.On(t, server))
	s.exec("alter database " + pgx.Identifier{s.Name}.Sanitize() + " set synchronous_commit = off")
	s.Pool.Reset() // connections from here on have it
	return s, server
}

// crash stops the server as a failure would, and starts it again.
func (s *stage) crash(server *pgserver.Server) {
	s.t.Helper()
	require.NoError(s.t, server.Crash(s.ctx))
	require.NoError(s.t, server.Restart(s.ctx))
	s.Pool.Reset()
}

// door makes a crash go unnoticed, as a proxy does that holds its clients back meanwhile: a pool finds its connections dead
// and opens new ones, and nobody gets an error.
type door struct{ sync.Mutex }

func (d *door) hide(cfg *pgxpool.Config) {
	cfg.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return true }
	cfg.BeforeConnect = func(context.Context, *pgx.ConnConfig) error {
		d.Lock()
		defer d.Unlock()
		return nil
	}
}

// Positions that were rolled back leave no trace on disk: after a crash they are given to other events. A worker that goes
// on from the cursor it remembers has these behind it.
func TestPositionsGivenOutAgainAfterACrashAreHandled(t *testing.T) {
	t.Parallel()
	s, server := onCrashServer(t)
	door := &door{}
	pool, reads := s.watchedPool(s.URL, door.hide)
	restarts := &restarts{}
	w := s.start(pool, rouse.Config{Projections: []rouse.Projection{recorder{name: "r"}}, PollOnly: true, Log: zerolog.New(restarts)}).WaitStarted()
	for name, again := range map[string]int{"a few, below the remembered cursor": 3, "so many that the log has passed it": 150} {
		shown, undisturbed := false, false
		for try := 0; try < 8 && !(shown && undisturbed); try++ { // something may have flushed the log meanwhile
			before := restarts.forOtherReasons()
			remembered := s.rollBackPositions(reads)
			door.Lock()
			require.NoError(t, server.Crash(s.ctx))
			require.NoError(t, server.Restart(s.ctx))
			door.Unlock()
			givenAgain := s.givenAgain(again) <= remembered
			s.exact("r")
			undisturbed = givenAgain && restarts.forOtherReasons() == before
			shown = shown || givenAgain
		}
		require.True(t, shown, "%s: a reader that remembers its cursor must lose some, or nothing is shown", name)
	}
	w.MustStop()
	s.exact("r")
}

// restarts is a worker's log that counts how often its projection has started over.
type restarts struct {
	mu           sync.Mutex // protects what is below
	all, noticed int
}

func (r *restarts) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case bytes.Contains(line, []byte("partitions claimed")):
		r.all++
	case bytes.Contains(line, []byte("the database has restarted after a crash")):
		r.noticed++
	}
	return len(line), nil
}

// forOtherReasons returns how often it was for another reason than that its reader had noticed the crash: a statement was on its
// way, or the heartbeats were late. Then even a reader that remembers its cursor begins where the checkpoint is.
func (r *restarts) forOtherReasons() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all - r.noticed
}

// givenAgain appends n events on a connection that has not known the server from before, and returns the first position.
func (s *stage) givenAgain(n int) (first int64) {
	s.t.Helper()
	s.Pool.Reset()
	require.NoError(s.t, s.Conn(s.t).QueryRow(s.ctx, "with e as ("+appendSQL+") select min(global_position) from e", "a", n).Scan(&first))
	return first
}

// rollBackPositions makes holes at the end of the log, waits until a worker that polls has passed them, and returns the last.
// The append before them makes the worker poll fast, so that the disk has little time. Most of the holes are made without
// rows, because the server writes full pages of its own log at once, and what it has written is not lost.
func (s *stage) rollBackPositions(reads *reads) int64 {
	s.t.Helper()
	conn := s.Conn(s.t)
	s.append(conn, "a")
	tx, err := conn.Begin(s.ctx)
	require.NoError(s.t, err)
	s.append(tx, "b")
	var last int64
	require.NoError(s.t, tx.QueryRow(s.ctx, `select max(nextval(pg_get_serial_sequence('events', 'global_position')))
		from generate_series(1, 99)`).Scan(&last))
	require.NoError(s.t, tx.Rollback(s.ctx))
	reads.again(s.t)
	return last
}

// A worker commits without waiting for the disk. A crash takes read model and checkpoint back together, and a worker that
// lives on does the work again from what the database says.
func TestWorkLostInACrashIsDoneAgain(t *testing.T) {
	t.Parallel()
	s, server := onCrashServer(t)
	var calls atomic.Int64
	count := func(context.Context, pgx.Tx, eventstore.Event) error { calls.Add(1); return nil }
	w := s.start(s.pool(s.URL), rouse.Config{Projections: []rouse.Projection{recorder{name: "r", hook: count}}, BatchSize: 7}).WaitStarted()
	events := int64(0)
	for round := 0; round < 5 && calls.Load() == events; round++ { // the disk may have caught up with a round
		_, err := s.Pool.Exec(s.ctx, appendSQL, "a", 100)
		require.NoError(t, err)
		events += 100
		require.NoError(t, w.Drain(s.ctx))
		require.Equal(t, events, calls.Load())
		s.crash(server)
		s.exact("r")
	}
	require.Greater(t, calls.Load(), events, "no crash lost anything, so nothing was shown")
	w.MustStop()
	s.exact("r")
}

// outside is what effects have done: events by id. It outlives every crash of the database.
type outside struct {
	mu   sync.Mutex // protects done
	done map[string]int
}

func (o *outside) Name() string { return "outside" }

func (*outside) StartFrom() rouse.Start { return rouse.Beginning }

func (o *outside) Do(_ context.Context, ev eventstore.Event) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.done[ev.ID.String()]++
	return nil
}

// Each event was done at least once, and nothing was done that is not in the log: an event is durable before anybody sees it.
func (s *stage) doneOutside(os ...*outside) {
	s.t.Helper()
	var ids []string
	for _, o := range os {
		o.mu.Lock()
		for id := range o.done {
			ids = append(ids, id)
		}
		o.mu.Unlock()
	}
	require.Zero(s.t, s.int("select count(*) from events where event_id::text <> all ($1)", ids), "events without their effect")
	require.Zero(s.t, s.int("select count(*) from unnest($1::text[]) i where i not in (select event_id::text from events)", ids),
		"effects of events that do not exist")
}

// none of the acknowledged appends is lost.
func (s *stage) durable(l *load) {
	s.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	require.Zero(s.t, s.int("select count(*) from unnest($1::bigint[]) p where p not in (select global_position from events)", l.acked),
		"appends that were acknowledged and are gone")
}

// crew are two static workers with one projection of each kind.
func (s *stage) crew() (workers []*running, effects []*outside) {
	for i, label := range []string{"w-0", "w-1"} {
		o := &outside{done: map[string]int{}}
		effects = append(effects, o)
		workers = append(workers, s.start(s.pool(s.URL), rouse.Config{
			Projections: []rouse.Projection{batchRecorder{recorder{name: "batched", worker: label}}, recorder{name: "single", worker: label}},
			Effects:     []rouse.Effect{o},
			Label:       label, WorkerIndex: i, TotalWorkers: 2, BatchSize: 50,
		}))
	}
	for _, w := range workers {
		w.WaitStarted()
	}
	return workers, effects
}

// rounds is how often something violent is done: ten times in the stress run.
func rounds() int {
	if os.Getenv("ROUSE_STRESS") != "" {
		return 10
	}
	return 3
}

// survives does something violent again and again under load, and shows that work goes on by itself and nothing is wrong.
func (s *stage) survives(violence func(round int)) {
	s.t.Helper()
	workers, effects := s.crew()
	load := s.startLoad(s.pool(s.URL), 4, 3*time.Millisecond)
	for round := range rounds() {
		load.more(s.t, 100)
		violence(round)
	}
	load.more(s.t, 100)
	load.stop()
	for _, projection := range []string{"batched", "single"} {
		s.exact(projection)
	}
	s.caughtUp("outside", patience)
	s.doneOutside(effects...)
	s.durable(load)
	for _, w := range workers {
		w.MustStop()
	}
	s.exact("batched")
	s.exact("single")
}

func TestStressServerCrashesUnderLoad(t *testing.T) {
	t.Parallel()
	s, server := onCrashServer(t)
	s.survives(func(int) { s.crash(server) })
}

func TestStressServerRestartsUnderLoad(t *testing.T) {
	t.Parallel()
	server := testdb.Server(t, nil)
	s := newStage(t, testdb.On(t, server))
	s.survives(func(int) {
		require.NoError(t, server.Halt(s.ctx))
		require.NoError(t, server.Restart(s.ctx))
		s.Pool.Reset()
	})
}

func TestStressEveryConnectionTerminatedUnderLoad(t *testing.T) {
	t.Parallel()
	s := newStage(t, testdb.New(t))
	s.survives(func(int) {
		for range 5 {
			s.exec("select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")
		}
	})
}

// A server that is frozen for a while answers nothing and closes nothing.
func TestStressServerFrozenUnderLoad(t *testing.T) {
	t.Parallel()
	server := testdb.Server(t, nil)
	s := newStage(t, testdb.On(t, server))
	s.survives(func(int) {
		require.NoError(t, server.Pause())
		<-time.After(1500 * time.Millisecond) // longer than a heartbeat, shorter than any deadline
		require.NoError(t, server.Resume())
	})
}

// Connections that go silent are given up at a deadline, whatever was waited for, and work goes on over new ones.
func TestSilentConnectionsAreGivenUp(t *testing.T) {
	t.Parallel()
	setup := func(t *testing.T) (*stage, *address, *running) {
		s := newStage(t, testdb.New(t))
		server, err := url.Parse(s.URL)
		require.NoError(t, err)
		port, err := strconv.Atoi(server.Port())
		require.NoError(t, err)
		front := newAddress(t, port)
		w := s.start(s.pool(front.url(s.URL)), rouse.Config{
			Projections:    []rouse.Projection{batchRecorder{recorder{name: "batched"}}, recorder{name: "single"}},
			HandlerTimeout: 3 * time.Second,
		}).WaitStarted()
		return s, front, w
	}
	within := 3 * patience // a pool may hand out several of them one after the other
	t.Run("UnderLoad", func(t *testing.T) {
		t.Parallel()
		s, front, w := setup(t)
		load := s.startLoad(s.pool(s.URL), 2, 5*time.Millisecond)
		load.more(t, 50)
		front.freeze()
		load.more(t, 50)
		load.stop()
		for _, projection := range []string{"batched", "single"} {
			s.caughtUp(projection, within)
			s.exact(projection)
		}
		w.MustStop()
	})
	t.Run("WhileIdle", func(t *testing.T) {
		t.Parallel()
		s, front, w := setup(t)
		s.append(s.Pool, "a")
		s.exact("batched")
		s.exact("single")
		<-time.After(1500 * time.Millisecond) // a pool looks at connections that were idle for a second before it hands them out
		front.freeze()
		s.append(s.Pool, "a")
		for _, projection := range []string{"batched", "single"} {
			s.caughtUp(projection, within)
			s.exact(projection)
		}
		w.MustStop()
	})
}
