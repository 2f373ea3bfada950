package listener_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/listener"
)

// shared is a connection for several logs of one database.
type shared struct {
	*listener.Connection
	b     *testBundle
	wires *wires
	log   *logLines // of the connection and of all logs
	logs  []*tenant
}

// tenant is a log with nothing in it but what the push needs.
type tenant struct {
	b        *testBundle
	schema   string
	events   uint32
	sequence uint32
}

// newShared makes a connection and n logs. Neither runs.
func newShared(t *testing.T, n int, change ...func(*listener.ConnectionConfig)) *shared {
	t.Helper()
	b := setup(t)
	cfg, wires := b.config(t)
	log := &logLines{}
	own := listener.ConnectionConfig{
		Dialer: cfg.Dialer, Pool: cfg.Pool, Instance: cfg.Instance, Presence: cfg.Presence, Log: zerolog.New(log),
	}
	for _, change := range change {
		change(&own)
	}
	s := &shared{Connection: listener.NewConnection(own), b: b, wires: wires, log: log}
	for i := range n {
		s.logs = append(s.logs, b.tenant(t, fmt.Sprintf("tenant_%d", i)))
	}
	return s
}

// tenant makes a log in a schema of its own.
func (b *testBundle) tenant(t *testing.T, schema string) *tenant {
	t.Helper()
	_, err := b.Pool.Exec(b.ctx, fmt.Sprintf(`create schema %[1]s;
		create table %[1]s.events (global_position bigint generated always as identity);
		create trigger push after insert on %[1]s.events for each statement execute function rouse_append_after()`, schema))
	require.NoError(t, err)
	l := &tenant{b: b, schema: schema}
	require.NoError(t, b.Pool.QueryRow(b.ctx, "select $1::regclass::oid, $2::regclass::oid",
		schema+".events", schema+".events_global_position_seq").Scan(&l.events, &l.sequence))
	return l
}

// append appends one event.
func (l *tenant) append(t *testing.T) {
	t.Helper()
	_, err := l.b.Pool.Exec(l.b.ctx, "insert into "+l.schema+".events default values")
	require.NoError(t, err)
}

// sleepers counts the sessions that share S of this log.
func (l *tenant) sleepers() (n int, err error) {
	err = l.b.Pool.QueryRow(l.b.ctx, `select count(*) from pg_locks where locktype = 'advisory' and objsubid = 2 and granted
		and classid = 1919907155 and objid = $1 and mode = 'ShareLock'
		and database = (select oid from pg_database where datname = current_database())`, l.events).Scan(&n)
	return n, err
}

// run runs the connection until the end of the test.
func (s *shared) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(s.b.ctx)
	var ran sync.WaitGroup
	ran.Go(func() { s.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		ran.Wait()
	})
}

// enter runs a listener for log i. change may change its configuration.
func (s *shared) enter(t *testing.T, i int, change ...func(*listener.Config)) *running {
	t.Helper()
	cfg := listener.Config{Connection: s.Connection, Events: s.logs[i].events, Sequence: s.logs[i].sequence}
	for _, change := range change {
		change(&cfg)
	}
	return s.b.runLogged(t, cfg, s.log)
}

// requireWoken appends to log i and waits until its listener l was woken by that.
func (s *shared) requireWoken(t *testing.T, i int, l *running) {
	t.Helper()
	before := l.State().LastWake
	s.logs[i].append(t)
	testdb.Eventually(t, patience, "a wake", func() (bool, error) { return l.State().LastWake.After(before), nil })
}

// requireUnheard waits until the connection does not listen to log i any more. l is the listener of another one.
func (s *shared) requireUnheard(t *testing.T, i int, l *running) {
	t.Helper()
	channel := wakeChannel(s.logs[i].events)
	s.b.listen(t).sleep(t, s.logs[i].events) // so that appends notify
	testdb.Eventually(t, patience, "notifications to stay away", func() (bool, error) {
		before := s.wires.notifications(channel)
		s.logs[i].append(t)
		l.probe(t) // what was sent before has come before
		l.probe(t)
		return s.wires.notifications(channel) == before, nil
	})
}

// waitFor waits until a listener is in a mode.
func waitFor(t *testing.T, l *running, mode listener.Mode) {
	t.Helper()
	testdb.Eventually(t, patience, string(mode), func() (bool, error) { return l.State().Mode == mode, nil })
}

// storm makes a listener believe that its log moves fast until calm is called.
func (s *shared) storm(t *testing.T, i int, l *running) (calm func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(s.b.ctx)
	var reading sync.WaitGroup
	var slow atomic.Bool
	reading.Go(func() {
		for head := int64(0); ctx.Err() == nil; <-time.After(3 * time.Millisecond) {
			if !slow.Load() {
				head += 100
			}
			l.Observe(head, 1, false)
		}
	})
	t.Cleanup(func() {
		cancel()
		reading.Wait()
	})
	testdb.Eventually(t, patience, "a torrent", func() (bool, error) {
		s.logs[i].append(t) // a wake is when the handler looks
		return l.State().Mode == listener.Torrent, nil
	})
	return func() { slow.Store(true) }
}

func TestShared_ATorrentInOneLogHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	s := newShared(t, 3)
	s.run(t)
	a, b, c := s.enter(t, 0), s.enter(t, 1), s.enter(t, 2)
	for _, l := range []*running{a, b, c} {
		waitFor(t, l, listener.Quiet)
	}
	calmA := s.storm(t, 0, a)
	for range 3 {
		s.requireWoken(t, 1, b)
	}
	wake := a.State().LastWake
	sleepers, err := s.logs[0].sleepers()
	require.NoError(t, err)
	require.Zero(t, sleepers, "appends to the fast log notify nobody")

	calmB := s.storm(t, 1, b)
	s.requireWoken(t, 2, c)
	calmB()
	waitFor(t, b, listener.Quiet)
	require.Equal(t, listener.Torrent, a.State().Mode, "the other is in a torrent all the time")
	require.Equal(t, wake, a.State().LastWake, "and nobody wakes its readers")
	s.requireWoken(t, 1, b)

	calmA()
	waitFor(t, a, listener.Quiet)
	s.requireWoken(t, 0, a)
	require.Equal(t, 1, c.saw(listener.Quiet), "who has nothing to do with it is not disturbed")
	require.Equal(t, 1, s.wires.connections())
	require.Empty(t, s.log.messages(zerolog.WarnLevel))
}

// Another session may hold S of one log alone for as long as it likes.
func TestShared_ALogWhoseSIsRefusedHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	const logs = 5
	s := newShared(t, logs)
	stranger := s.b.Conn(t)
	_, err := stranger.Exec(s.b.ctx, "select pg_advisory_lock(1919907155, $1)", int32(s.logs[0].events))
	require.NoError(t, err)
	var listeners []*running
	for i := range logs {
		listeners = append(listeners, s.enter(t, i, func(cfg *listener.Config) {
			cfg.Members = func() int { return 1 }
		}))
	}
	testdb.Eventually(t, patience, "all to enter", func() (bool, error) { return s.Entered() == logs, nil })
	s.run(t)
	for i, l := range listeners[1:] {
		waitFor(t, l, listener.Quiet)
		s.requireWoken(t, i+1, l)
	}
	testdb.Eventually(t, patience, "the other to be given up for now", func() (bool, error) {
		return len(s.log.messages(zerolog.WarnLevel)) > 0, nil
	})
	s.log.requireOrder(t, "push mode changed", "cannot arm")
	require.Zero(t, listeners[0].saw(listener.Quiet))
	require.Equal(t, listener.Polling, listeners[0].State().Mode)
	require.True(t, listeners[0].State().Proven)

	require.NoError(t, stranger.Close(s.b.ctx))
	waitFor(t, listeners[0], listener.Quiet)
	s.requireWoken(t, 0, listeners[0])
	for _, l := range listeners {
		require.Equal(t, 1, l.saw(listener.Quiet), "each was armed once")
	}
	require.Equal(t, 1, s.wires.connections())
	require.Len(t, s.log.messages(zerolog.WarnLevel), 1, "it is said once")
}

// requireOrder fails unless all lines of the message first come before the first that begins with then.
func (l *logLines) requireOrder(t *testing.T, first, then string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	late := false
	for _, line := range l.lines {
		message := line["message"].(string)
		late = late || len(message) >= len(then) && message[:len(then)] == then
		require.False(t, late && message == first, "%q comes after %q", first, then)
	}
}

// A tenant may go without telling.
func TestShared_ALogThatIsGoneEndsNoOther(t *testing.T) {
	t.Parallel()
	s := newShared(t, 4)
	s.run(t)
	var listeners []*running
	for i := range s.logs {
		listeners = append(listeners, s.enter(t, i))
		waitFor(t, listeners[i], listener.Quiet)
	}
	_, err := s.b.Pool.Exec(s.b.ctx, "drop schema tenant_2 cascade; revoke all on sequence tenant_3.events_global_position_seq from public")
	require.NoError(t, err)
	s.b.terminate(t, int32(listeners[0].State().PID))
	for _, i := range []int{0, 1, 3} {
		testdb.Eventually(t, patience, "the others to be back", func() (bool, error) { return listeners[i].saw(listener.Quiet) == 2, nil })
		s.requireWoken(t, i, listeners[i])
	}
	require.Equal(t, listener.Polling, listeners[2].State().Mode)
	sleepers, err := s.logs[2].sleepers()
	require.NoError(t, err)
	require.Zero(t, sleepers, "nobody sleeps where nobody can read")
	for range 3 {
		listeners[0].probe(t) // with each of them it is tried again
	}
	require.Equal(t, 2, s.wires.connections(), "the second connection is kept")
	require.Equal(t, listener.Quiet, listeners[0].State().Mode)
	require.Equal(t, 2, listeners[0].saw(listener.Quiet))
}

func TestShared_LogsComeAndGoWhileItRuns(t *testing.T) {
	t.Parallel()
	s := newShared(t, 3)
	s.run(t)
	a := s.enter(t, 0)
	waitFor(t, a, listener.Quiet)
	pid := a.State().PID

	b := s.enter(t, 1)
	waitFor(t, b, listener.Quiet)
	twin := s.enter(t, 1) // of the same log
	waitFor(t, twin, listener.Quiet)
	s.requireWoken(t, 1, b)
	s.requireWoken(t, 1, twin)

	twin.stop()
	for range 2 { // with the second it has left for sure
		a.probe(t)
	}
	s.requireWoken(t, 1, b)
	b.stop()
	require.Equal(t, listener.State{Mode: listener.Polling, LastWake: b.State().LastWake}, b.State())
	testdb.Eventually(t, patience, "S to be released", func() (bool, error) {
		n, err := s.logs[1].sleepers()
		return n == 0, err
	})
	modes, wake := b.saw(listener.Quiet), b.State().LastWake
	s.requireUnheard(t, 1, a)
	require.Equal(t, modes, b.saw(listener.Quiet), "who has left is not called any more")
	require.Equal(t, wake, b.State().LastWake)

	again := s.enter(t, 1)
	waitFor(t, again, listener.Quiet)
	s.requireWoken(t, 1, again)
	s.requireWoken(t, 0, a)
	require.Equal(t, 1, a.saw(listener.Quiet), "the first was not disturbed")
	require.Equal(t, pid, a.State().PID)
	require.Equal(t, 1, s.wires.connections())
}

// A log that leaves in a torrent, which only its readers could end, takes the torrent with it.
func TestShared_ALogThatLeavesInATorrent(t *testing.T) {
	t.Parallel()
	s := newShared(t, 2)
	s.run(t)
	a, b := s.enter(t, 0), s.enter(t, 1)
	waitFor(t, a, listener.Quiet)
	waitFor(t, b, listener.Quiet)
	s.storm(t, 0, a)
	a.stop()
	s.requireUnheard(t, 0, b)
	s.requireWoken(t, 1, b)
	again := s.enter(t, 0)
	waitFor(t, again, listener.Quiet)
	s.requireWoken(t, 0, again)
}

// However many logs there are, they are one session of the server, and cost it a handful of round trips.
func TestShared_FiftyLogsAreOneConnectionAndFewRoundTrips(t *testing.T) {
	t.Parallel()
	turns := map[int]int{}
	for _, logs := range []int{1, 50} {
		s := newShared(t, logs)
		var armed []*running
		for i := range s.logs {
			armed = append(armed, s.enter(t, i, func(cfg *listener.Config) { cfg.OnMembers = func() {} }))
		}
		testdb.Eventually(t, patience, "all to enter", func() (bool, error) { return s.Entered() == logs, nil })
		s.run(t)
		for _, l := range armed {
			waitFor(t, l, listener.Quiet)
		}
		turns[logs] = s.wires.turns()
		require.Equal(t, 1, s.wires.connections())
		var sleepers, sessions int
		require.NoError(t, s.b.Pool.QueryRow(s.b.ctx, `select count(*), count(distinct pid) from pg_locks where locktype = 'advisory'
			and classid = 1919907155 and database = (select oid from pg_database where datname = current_database())`).Scan(&sleepers, &sessions))
		require.Equal(t, logs, sleepers)
		require.Equal(t, 1, sessions)
		for i, l := range armed {
			s.requireWoken(t, i, l)
		}
		require.Equal(t, 1, s.wires.connections())
	}
	t.Logf("round trips, login included: %v", turns)
	assert.LessOrEqual(t, turns[50], turns[1]+2)
}

// Members that come and go are no events.
func TestShared_TellsOfMembersInEveryMode(t *testing.T) {
	t.Parallel()
	s := newShared(t, 2)
	s.run(t)
	var told, toldOther atomic.Int64
	l := s.enter(t, 0, func(cfg *listener.Config) { cfg.OnMembers = func() { told.Add(1) } })
	other := s.enter(t, 1, func(cfg *listener.Config) { cfg.OnMembers = func() { toldOther.Add(1) } })
	waitFor(t, l, listener.Quiet)
	waitFor(t, other, listener.Quiet)
	require.EqualValues(t, 1, told.Load(), "once after the connect")
	woken, leave := l.Subscribe()
	defer leave()
	notify := func() {
		t.Helper()
		before := told.Load()
		_, err := s.b.Pool.Exec(s.b.ctx, "select pg_notify($1, '')", wakeChannel(s.logs[0].events)+"_members")
		require.NoError(t, err)
		testdb.Eventually(t, patience, "it to be told", func() (bool, error) { return told.Load() == before+1, nil })
	}
	for range 3 {
		notify()
	}
	requireNotWoken(t, l, woken)
	require.False(t, l.Pressed())
	require.Equal(t, listener.Quiet, l.State().Mode)

	calm := s.storm(t, 0, l)
	notify()
	require.Equal(t, listener.Torrent, l.State().Mode)
	calm()
	waitFor(t, l, listener.Quiet)

	before := told.Load()
	s.b.terminate(t, int32(l.State().PID))
	testdb.Eventually(t, patience, "it to be told after the reconnect", func() (bool, error) { return told.Load() == before+1, nil })
	notify()
	require.EqualValues(t, 2, toldOther.Load(), "the other log's members are its own: one call for each connect")
}

// pgxlisten sends its LISTEN without a time limit, and over a line that swallows it no answer ever comes.
func TestShared_AStatementThatHangsIsNoticed(t *testing.T) {
	t.Parallel()
	for _, statement := range []string{`listen "rouse_probe_`, `listen "rouse_%d"`, "idle_session_timeout", "pg_try_advisory_lock_shared(1919907152", "pg_try_advisory_lock_shared(1919907155"} {
		t.Run(statement, func(t *testing.T) {
			t.Parallel()
			s := newShared(t, 2)
			if statement == `listen "rouse_%d"` {
				statement = fmt.Sprintf(statement, s.logs[0].events)
			}
			s.wires.hangAt(statement)
			a, b := s.enter(t, 0), s.enter(t, 1)
			s.run(t)
			testdb.Eventually(t, patience, "another connection", func() (bool, error) { return s.wires.connections() > 1, nil })
			s.wires.hangAt("")
			waitFor(t, a, listener.Quiet)
			waitFor(t, b, listener.Quiet)
			s.requireWoken(t, 0, a)
		})
	}
}

// What a database that sleeps is asked at rest is what its operator has chosen.
func TestShared_ProbesAtRestComeAsOftenAsAsked(t *testing.T) {
	t.Parallel()
	s := newShared(t, 1, func(cfg *listener.ConnectionConfig) { cfg.ProbeInterval = time.Hour })
	s.run(t)
	l := s.enter(t, 0)
	waitFor(t, l, listener.Quiet)
	proven := l.ProvenAt()
	s.requireWoken(t, 0, l)
	require.True(t, l.ProvenAt().After(proven), "an append's notification proves what a probe does")
	require.True(t, l.State().Proven)
}
