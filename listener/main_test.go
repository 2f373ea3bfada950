package listener_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/listener"
)

func TestMain(m *testing.M) { testdb.Main(m) }

const (
	// patience bounds everything that a test waits for.
	patience = time.Minute
	// testLimit bounds a test as a whole, on a machine that does many other things.
	testLimit = 5 * time.Minute
)

// presence is the key of the presence lock of every listener here; databases keep the tests apart.
const presence = 77

// stress reports whether the long forms are wanted.
func stress() bool { return os.Getenv("ROUSE_STRESS") != "" }

type testBundle struct {
	*testdb.DB
	ctx   context.Context
	log   catchup.Log
	token catchup.Token
}

func setup(t *testing.T) *testBundle {
	t.Helper()
	wait := testLimit
	if stress() {
		wait = time.Hour
	}
	return setupOn(t, testdb.New(t), wait)
}

func setupOn(t *testing.T, own *testdb.DB, wait time.Duration) *testBundle {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	t.Cleanup(cancel)
	b := &testBundle{DB: own, ctx: ctx}
	var err error
	b.log, err = catchup.Open(ctx, own.Pool)
	require.NoError(t, err)
	b.token, err = catchup.CurrentToken(ctx, own.Pool)
	require.NoError(t, err)
	return b
}

// config is a listener's for this database, over a wire that the test may cut. change may change the settings of its connection.
func (b *testBundle) config(t *testing.T, change ...func(*pgx.ConnConfig)) (listener.Config, *wires) {
	t.Helper()
	conn := b.Pool.Config().ConnConfig.Copy()
	w := &wires{dial: conn.DialFunc}
	conn.DialFunc, conn.TLSConfig, conn.Fallbacks = w.connect, nil, nil
	t.Cleanup(w.cut)
	for _, change := range change {
		change(conn)
	}
	return listener.Config{
		Dialer: db.DialerOf(conn), Pool: b.Pool, Events: b.log.Events, Sequence: b.log.Sequence,
		Instance: eventstore.NewID().String(), Presence: presence,
	}, w
}

// running is a listener that runs until the end of the test, or until stop is called.
type running struct {
	*listener.Listener
	cfg  listener.Config
	log  *logLines
	stop func()

	mu    sync.Mutex // protects modes
	modes []listener.Mode
}

// run starts a listener.
func (b *testBundle) run(t *testing.T, cfg listener.Config) *running {
	t.Helper()
	return b.runLogged(t, cfg, &logLines{})
}

// runLogged starts a listener that logs to log.
func (b *testBundle) runLogged(t *testing.T, cfg listener.Config, log *logLines) *running {
	t.Helper()
	r := &running{log: log}
	cfg.OnMode = func(mode listener.Mode) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.modes = append(r.modes, mode)
	}
	cfg.Log = zerolog.New(r.log)
	r.cfg, r.Listener = cfg, listener.New(cfg)
	ctx, cancel := context.WithCancel(b.ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.Run(ctx)
	}()
	r.stop = func() {
		cancel()
		<-ended
	}
	t.Cleanup(r.stop)
	return r
}

// saw tells how often the listener has entered a mode.
func (r *running) saw(mode listener.Mode) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.modes {
		if m == mode {
			n++
		}
	}
	return n
}

// quiet reports whether the listener is armed, for testdb.Eventually.
func (r *running) quiet() (bool, error) { return r.State().Mode == listener.Quiet, nil }

// probe waits for a probe to arrive. The second of two in a row was sent after the first had arrived.
func (r *running) probe(t *testing.T) {
	t.Helper()
	before := r.ProvenAt()
	r.Probe()
	testdb.Eventually(t, patience, "a probe", func() (bool, error) { return r.ProvenAt().After(before), nil })
}

// logLines keeps what was logged.
type logLines struct {
	mu    sync.Mutex // protects lines
	lines []map[string]any
}

func (l *logLines) Write(p []byte) (int, error) {
	var line map[string]any
	if err := json.Unmarshal(bytes.TrimSpace(p), &line); err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	return len(p), nil
}

// messages returns the messages of a level.
func (l *logLines) messages(level zerolog.Level) (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if line["level"] == level.String() {
			out = append(out, line["message"].(string))
		}
	}
	return out
}

// lock is a session-level lock of the protocol.
type lock struct {
	PID    int32
	Kind   string // "sleeper" or "presence"
	Shared bool
}

// locks lists the locks of sleepers and of presence that are held in this database.
func (b *testBundle) locks(t *testing.T) []lock {
	t.Helper()
	rows, err := b.Pool.Query(b.ctx, `select pid, case when classid = 1919907155 then 'sleeper' else 'presence' end, mode = 'ShareLock'
		from pg_locks where locktype = 'advisory' and objsubid = 2 and granted and classid in (1919907155, 1919907152)
		and database = (select oid from pg_database where datname = current_database()) order by 2 desc, 1`)
	require.NoError(t, err)
	locks, err := pgx.CollectRows(rows, pgx.RowToStructByPos[lock])
	require.NoError(t, err)
	return locks
}

// sleepers lists who holds S.
func (b *testBundle) sleepers(t *testing.T) (pids []int32) {
	t.Helper()
	for _, l := range b.locks(t) {
		if l.Kind == "sleeper" {
			require.True(t, l.Shared, "session %d holds S exclusively, so that nobody can sleep", l.PID)
			pids = append(pids, l.PID)
		}
	}
	return pids
}

// armed waits until a listener is armed and returns the session that holds S; it must be the only one.
func (b *testBundle) armed(t *testing.T, r *running) int32 {
	t.Helper()
	testdb.Eventually(t, patience, "the listener to arm", r.quiet)
	pids := b.sleepers(t)
	require.Len(t, pids, 1, "one session holds S, once")
	return pids[0]
}

// terminate ends a session of the database.
func (b *testBundle) terminate(t *testing.T, pid int32) {
	t.Helper()
	var found bool
	require.NoError(t, b.Pool.QueryRow(b.ctx, "select pg_terminate_backend($1)", pid).Scan(&found))
	require.True(t, found, "session %d is there to be ended", pid)
}

// insertSQL is how a program that knows nothing of this package appends: $3 events of the aggregate $1, from version $2 on.
const insertSQL = `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
	select 'test', $1, $2::bigint + n - 1, 'Happened', '{}' from generate_series(1, $3::int) n`

// append appends one event to an aggregate of its own, and commits.
func (b *testBundle) append(t *testing.T) {
	t.Helper()
	_, err := b.Pool.Exec(b.ctx, insertSQL, eventstore.NewID().String(), 1, 1)
	require.NoError(t, err)
}

// head is the highest position given out.
func (b *testBundle) head(t *testing.T) int64 {
	t.Helper()
	var head int64
	err := b.Pool.QueryRow(b.ctx, "select coalesce(pg_sequence_last_value($1::bigint::oid::regclass), 0)", int64(b.log.Sequence)).Scan(&head)
	require.NoError(t, err)
	return head
}

// ears is a session that listens and tells what it hears.
type ears struct {
	b    *testBundle
	conn *pgx.Conn
}

// barrier is a channel for notifications that only mark a place among others.
const barrier = "barrier"

// listen opens a session that listens to the channels.
func (b *testBundle) listen(t *testing.T, channels ...string) *ears {
	t.Helper()
	e := &ears{b: b, conn: b.Conn(t)}
	for _, channel := range append(channels, barrier) {
		_, err := e.conn.Exec(b.ctx, "listen "+pgx.Identifier{channel}.Sanitize())
		require.NoError(t, err)
	}
	return e
}

// heard returns the channels of all notifications that were sent by transactions which had committed before the call:
// notifications arrive in the order of commits, so they end at a barrier.
func (e *ears) heard(t *testing.T) (channels []string) {
	t.Helper()
	_, err := e.b.Pool.Exec(e.b.ctx, "select pg_notify($1, '')", barrier)
	require.NoError(t, err)
	for {
		n, err := e.conn.WaitForNotification(e.b.ctx)
		require.NoError(t, err)
		if n.Channel == barrier {
			return channels
		}
		channels = append(channels, n.Channel)
	}
}

// sleep takes S as a listener does, on this session.
func (e *ears) sleep(t *testing.T, events uint32) {
	t.Helper()
	_, err := e.conn.Exec(e.b.ctx, "select pg_advisory_lock_shared(1919907155, $1)", int32(events))
	require.NoError(t, err)
}

// wakeChannel is the channel that appends to a table notify.
func wakeChannel(events uint32) string { return "rouse_" + strconv.FormatUint(uint64(events), 10) }
