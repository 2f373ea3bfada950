package integration_test

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/internal/testdb"
)

// journal keeps the log lines of a worker.
type journal struct {
	mu   sync.Mutex // protects text
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

// has tells whether there is a line of a level with some text in it.
func (j *journal) has(level, text string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for line := range strings.Lines(j.text.String()) {
		if strings.Contains(line, `"level":"`+level+`"`) && strings.Contains(line, text) {
			return true
		}
	}
	return false
}

// count returns the number of lines that hold all of some texts.
func (j *journal) count(texts ...string) (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for line := range strings.Lines(j.text.String()) {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			n++
		}
	}
	return n
}

// refused runs a worker that must not start, and returns why it did not.
func (s *stage) refused() error {
	s.t.Helper()
	w := s.start(s.Pool, rouse.Config{Projections: []rouse.Projection{recorder{name: "r"}}})
	err := w.Wait()
	require.Error(s.t, err)
	require.Zero(s.t, s.int("select count(*) from projection_checkpoints where owner is not null"))
	return err
}

func TestWorkerRefusesALogThatLosesEvents(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, spoil string
		want        error
		says        string
	}{
		{"append trigger disabled", "alter table events disable trigger rouse_append_before", catchup.ErrUnguarded, "alter table events enable always trigger rouse_append_before"},
		{"append trigger not always", "alter table events enable trigger rouse_append_before", catchup.ErrUnguarded, "enable always"},
		{"append trigger for replicas only", "alter table events enable replica trigger rouse_append_before", catchup.ErrUnguarded, "enable always"},
		{"append trigger dropped", "drop trigger rouse_append_before on events", catchup.ErrUnguarded, "missing"},
		{"sequence with a cache", "alter table events alter global_position set cache 32", catchup.ErrSequence, "alter table events alter global_position set cache 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, testdb.New(t))
			s.append(s.Pool, "a")
			s.exec(test.spoil)
			err := s.refused()
			require.ErrorIs(t, err, test.want)
			require.ErrorContains(t, err, test.says)
			require.Empty(t, s.handled("r"))
		})
	}
}

// The append trigger goes away under a running worker. Appends without it leave no trace in the locks, so a commit that is
// slow among them would be passed; the worker must stand still until the trigger is back, and then miss nothing.
func TestWorkerStandsStillWhileTheAppendTriggerIsOff(t *testing.T) {
	t.Parallel()
	s := newStage(t, testdb.New(t))
	log := &journal{}
	pool, reads := s.watchedPool(s.URL)
	w := s.start(pool, rouse.Config{Projections: []rouse.Projection{recorder{name: "r"}}, Log: zerolog.New(log)}).WaitStarted()
	s.append(s.Pool, "a")
	s.exact("r")

	s.exec("alter table events disable trigger rouse_append_before")
	slow, hole := s.open("b")
	above := s.append(s.Pool, "c")
	require.Greater(t, above, hole)
	w.WaitState("r", rouse.StateRetrying)
	require.True(t, log.has("error", "standing still until the append trigger is back"))
	require.True(t, log.has("error", "enable always trigger rouse_append_before"), "the log must say what to do")
	require.Zero(t, s.int("select count(*) from pg_locks where locktype = 'advisory' and objsubid = 1 and mode = 'ShareLock' and database = (select oid from pg_database where datname = current_database())"),
		"the open append must be out of sight, or nothing is shown")
	require.Len(t, s.handled("r"), 1)

	enabled := make(chan error, 1)
	conn := s.Conn(t)
	go func() {
		_, err := conn.Exec(s.ctx, "alter table events enable always trigger rouse_append_before")
		enabled <- err
	}()
	s.eventually(patience, "ALTER TABLE to wait for the open append", "select exists (select from pg_locks where not granted)")
	require.Len(t, s.handled("r"), 1)
	require.NoError(t, slow.Commit(s.ctx))
	require.NoError(t, <-enabled)
	s.inOrder("r")
	w.WaitState("r", rouse.StateLive)

	reads.again(t) // and on it goes
	s.append(s.Pool, "c")
	s.inOrder("r")
}

// Without the push trigger nothing wakes a worker, so it must not trust the push: it polls, a second apart at most.
func TestEventsFlowWithoutThePushTrigger(t *testing.T) {
	t.Parallel()
	s := newStage(t, testdb.New(t))
	s.exec("alter table events disable trigger rouse_append_after")
	log := &journal{}
	pool, reads := s.watchedPool(s.URL)
	w := s.start(pool, rouse.Config{Projections: []rouse.Projection{recorder{name: "r"}}, Log: zerolog.New(log)}).WaitStarted()
	testdb.Eventually(t, patience, "a warning that says what to do", func() (bool, error) {
		return log.has("warn", "enable always trigger rouse_append_after"), nil
	})
	testdb.Eventually(t, patience, "the push to be proven", func() (bool, error) { return w.Status().Mode == "quiet", nil })
	for range 3 {
		reads.again(t) // the polls grow to what they grow to: behind a proven push it would be many seconds by the end
	}
	// A machine that is busy may need another try; behind a proven push none would do.
	testdb.Eventually(t, patience, "polls that are a second apart at most", func() (bool, error) {
		from, began := reads.n.Load(), time.Now()
		for range 2 {
			reads.again(t)
		}
		return time.Since(began)/time.Duration(reads.n.Load()-from) <= 1500*time.Millisecond, nil
	})
	s.append(s.Pool, "a")
	s.exact("r")
	w.MustStop()
}

func TestLogThatEndsBeforeACheckpointStopsTheProjection(t *testing.T) {
	t.Parallel()
	config := func(pollOnly bool) rouse.Config {
		return rouse.Config{Projections: []rouse.Projection{recorder{name: "r"}}, PollOnly: pollOnly}
	}
	prepare := func(t *testing.T) *stage {
		s := newStage(t, testdb.New(t))
		_, err := s.Pool.Exec(s.ctx, appendSQL, "a", 10)
		require.NoError(t, err)
		return s
	}
	stopped := func(t *testing.T, s *stage, w *running) {
		t.Helper()
		err := w.Wait()
		var stop *rouse.StoppedError
		require.ErrorAs(t, err, &stop)
		require.Equal(t, "r", stop.Projection)
		require.ErrorIs(t, err, catchup.ErrLogBehind)
		require.ErrorContains(t, err, "truncated or restored")
		require.Equal(t, rouse.StateStopped, w.Status().States["r"])
		var state, said string
		require.NoError(t, s.Pool.QueryRow(s.ctx, "select state, last_error from projections where projection_name = 'r'").Scan(&state, &said))
		require.Equal(t, "stopped", state)
		require.Contains(t, said, "truncated or restored")
		require.EqualValues(t, 32, s.int("select count(*) from projection_checkpoints where last_global_position = 10"), "the checkpoints stay where they were")
	}
	const truncate = "truncate events restart identity"
	t.Run("AtTheStart", func(t *testing.T) {
		t.Parallel()
		s := prepare(t)
		w := s.start(s.Pool, config(false))
		s.exact("r")
		w.MustStop()
		s.exec(truncate)
		stopped(t, s, s.start(s.Pool, config(false)))
		s.append(s.Pool, "a") // an event that a worker which is "caught up" would never handle
		stopped(t, s, s.start(s.Pool, config(false)))
	})
	t.Run("WhileItRunsAndPolls", func(t *testing.T) {
		t.Parallel()
		s := prepare(t)
		w := s.start(s.Pool, config(true))
		s.exact("r")
		s.exec(truncate)
		stopped(t, s, w)
	})
	t.Run("WhileItRunsAndIsWoken", func(t *testing.T) {
		t.Parallel()
		s := prepare(t)
		w := s.start(s.Pool, config(false))
		s.exact("r")
		s.exec(truncate)
		s.append(s.Pool, "a")
		stopped(t, s, w)
	})
	t.Run("OneCheckpointOfMany", func(t *testing.T) {
		t.Parallel()
		s := prepare(t)
		w := s.start(s.Pool, config(false))
		s.exact("r")
		w.MustStop()
		s.exec("update projection_checkpoints set last_global_position = 5000 where partition = 7")
		w = s.start(s.Pool, config(false))
		require.ErrorIs(t, w.Wait(), catchup.ErrLogBehind)
	})
	t.Run("OthersGoOn", func(t *testing.T) {
		t.Parallel()
		s := prepare(t)
		w := s.start(s.Pool, config(false))
		s.exact("r")
		w.MustStop()
		s.exec("update projection_checkpoints set last_global_position = 5000 where partition = 7")
		cfg := config(false)
		cfg.Projections = append(cfg.Projections, recorder{name: "other"})
		w = s.start(s.Pool, cfg)
		w.WaitState("r", rouse.StateStopped)
		s.append(s.Pool, "b")
		s.exact("other")
		require.ErrorIs(t, w.Stop(), catchup.ErrLogBehind, "Run must not end in success when a projection was stopped")
	})
}

// The lag query that operators use must come down to zero in every partition, and never be below it.
func TestLagIsZeroSoonAndNeverNegative(t *testing.T) {
	t.Parallel()
	s := newStage(t, testdb.New(t))
	s.start(s.Pool, rouse.Config{Projections: []rouse.Projection{recorder{name: "scalable_projection"}}}).WaitStarted()
	const lag = `SELECT projection_name, last_global_position,
       (SELECT MAX(global_position) FROM events) - last_global_position AS lag
FROM projection_checkpoints WHERE projection_name = 'scalable_projection'`
	lags := func() (least, most int64) {
		rows, err := s.Pool.Query(s.ctx, lag)
		require.NoError(t, err)
		type row struct {
			Name           string
			Position, Lags int64
		}
		all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[row])
		require.NoError(t, err)
		require.Len(t, all, 32)
		for i, r := range all {
			if i == 0 {
				least, most = r.Lags, r.Lags
			}
			least, most = min(least, r.Lags), max(most, r.Lags)
		}
		return least, most
	}
	prompt := 0
	for round := 0; round < 4 || prompt < 2 && round < 20; round++ { // a machine that is busy may need more tries
		began := time.Now()
		s.append(s.Pool, "a") // one partition of 32
		tx, _ := s.open("b")  // and holes at the end of the log, where no checkpoint must go
		if round%2 == 1 {
			s.exec("select setval(pg_get_serial_sequence('events', 'global_position'), (select max(global_position) from events) + 1000)")
		}
		require.NoError(t, tx.Rollback(s.ctx))
		testdb.Eventually(t, patience, "all partitions to have no lag", func() (bool, error) {
			least, most := lags()
			require.GreaterOrEqual(t, least, int64(0), "lag must never be negative")
			return most == 0, nil
		})
		if time.Since(began) < 2*time.Second {
			prompt++
		}
	}
	require.GreaterOrEqual(t, prompt, 2, "two seconds are the promise, for a machine that does nothing else")
	s.exact("scalable_projection")
}
