//go:build unix

package pgserver

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLife(t *testing.T) {
	t.Parallel()
	s := start(t, Config{Settings: unsynced()})
	port := s.Port()
	require.NoError(t, s.exec(t.Context(), "create table durable (n int)"))
	require.NoError(t, s.exec(t.Context(), "create unlogged table volatile (n int)"))

	t.Run("CrashLosesWhatARealOneLoses", func(t *testing.T) {
		require.NoError(t, s.exec(t.Context(), "insert into durable values (1)"))
		require.NoError(t, s.exec(t.Context(), "insert into volatile values (1)"))
		open := connect(t, s)
		tx, err := open.Begin(t.Context())
		require.NoError(t, err)
		_, err = tx.Exec(t.Context(), "insert into durable values (2)")
		require.NoError(t, err)

		require.NoError(t, s.Crash(t.Context()))
		require.Error(t, tx.Commit(t.Context()))
		require.Error(t, s.ping(t.Context()), "nobody answers")
		require.NoError(t, s.Restart(t.Context()))

		require.Equal(t, port, s.Port())
		require.Equal(t, []int32{1}, value[[]int32](t, s, "select array_agg(n order by n) from durable"))
		require.Zero(t, value[int](t, s, "select count(*) from volatile"), "crash recovery empties unlogged tables")
	})
	t.Run("KillLeavesNoProcessAndWhatWasCommitted", func(t *testing.T) {
		require.NoError(t, s.exec(t.Context(), "insert into volatile values (4)"))
		backend := connect(t, s)
		require.NoError(t, s.exec(t.Context(), "insert into durable values (4)"))
		require.NoError(t, s.Kill(t.Context()))
		require.Error(t, backend.Ping(t.Context()), "its backend is gone too")
		require.Error(t, s.ping(t.Context()), "nobody answers")
		require.ErrorIs(t, s.Kill(t.Context()), ErrNotRunning)
		require.NoError(t, s.Restart(t.Context()))
		require.Equal(t, []int32{1, 4}, value[[]int32](t, s, "select array_agg(n order by n) from durable"))
		require.Zero(t, value[int](t, s, "select count(*) from volatile"), "crash recovery empties unlogged tables")

		require.NoError(t, s.Pause())
		require.NoError(t, s.Kill(t.Context()), "also one that is frozen")
		require.NoError(t, s.Restart(t.Context()))
	})
	t.Run("HaltKeepsEverything", func(t *testing.T) {
		require.NoError(t, s.exec(t.Context(), "insert into volatile values (3)"))
		connect(t, s) // does not hold it up
		require.NoError(t, s.Halt(t.Context()))
		require.Error(t, s.ping(t.Context()))
		require.NoError(t, s.Restart(t.Context()))
		require.Equal(t, port, s.Port())
		require.Equal(t, 1, value[int](t, s, "select count(*) from volatile"))
	})
	t.Run("CallsOutOfOrderSayWhatToDo", func(t *testing.T) {
		require.ErrorIs(t, s.Restart(t.Context()), ErrRunning)
		require.NoError(t, s.Halt(t.Context()))
		require.ErrorIs(t, s.Halt(t.Context()), ErrNotRunning)
		require.ErrorIs(t, s.Crash(t.Context()), ErrNotRunning)
		require.ErrorIs(t, s.Pause(), ErrNotRunning)
		_, err := s.Standby(t.Context())
		require.ErrorIs(t, err, ErrNotRunning)
		require.NoError(t, s.Restart(t.Context()))
		require.ErrorContains(t, s.Promote(t.Context()), "only a standby can be promoted")
	})
	t.Run("ADeathOfItsOwnIsNoticed", func(t *testing.T) {
		require.NoError(t, s.process.Signal(os.Kill))
		<-s.process.Exited
		require.ErrorIs(t, s.Crash(t.Context()), ErrNotRunning)
		require.NoError(t, s.Restart(t.Context()))
		require.NoError(t, s.ping(t.Context()))
	})
}

func TestPause(t *testing.T) {
	t.Parallel()
	s := start(t, Config{Settings: unsynced()})

	// The backends are processes of their own in groups of their own. One that
	// still answers shows that only the parent was stopped.
	silent := func(t *testing.T) {
		t.Helper()
		before := connect(t, s)
		require.NoError(t, s.Pause())
		require.NoError(t, s.Pause(), "once more does nothing")
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_, err := before.Exec(ctx, "select 1")
		require.ErrorIs(t, err, context.DeadlineExceeded, "an open connection hangs")
	}

	t.Run("NothingAnswersAndNothingIsLost", func(t *testing.T) {
		survivor := connect(t, s)
		silent(t)
		require.NoError(t, s.Resume())
		require.NoError(t, s.Resume(), "once more does nothing")
		_, err := survivor.Exec(t.Context(), "select 1")
		require.NoError(t, err, "an idle connection lives through it")
		require.NoError(t, s.ping(t.Context()))
	})
	t.Run("ACrashEndsIt", func(t *testing.T) {
		silent(t)
		require.NoError(t, s.Crash(t.Context()))
		require.NoError(t, s.Restart(t.Context()))
		require.NoError(t, s.ping(t.Context()))
	})
	t.Run("AHaltEndsIt", func(t *testing.T) {
		silent(t)
		require.NoError(t, s.Halt(t.Context()))
		require.NoError(t, s.Restart(t.Context()))
	})
	t.Run("AStopEndsIt", func(t *testing.T) {
		silent(t)
		require.NoError(t, s.Stop(t.Context()))
		require.NoDirExists(t, s.DataDir())
	})
}

func TestStop(t *testing.T) {
	t.Parallel()
	s := start(t, Config{Settings: unsynced()})
	connect(t, s) // a client that stays does not hold it up
	require.DirExists(t, s.DataDir())
	require.NoError(t, s.Stop(t.Context()))
	require.NoDirExists(t, s.DataDir())
	require.Empty(t, processesMentioning(t, s.DataDir()))
	require.True(t, portIsFree(s.Port()))

	require.NoError(t, s.Stop(t.Context()), "once more does nothing")
	require.ErrorIs(t, s.Restart(t.Context()), ErrStopped)
	require.ErrorIs(t, s.Crash(t.Context()), ErrStopped)

	t.Run("WithAnEndedContextStopsAtOnce", func(t *testing.T) {
		ended, cancel := context.WithCancel(t.Context())
		s := start(t, Config{Settings: unsynced()})
		cancel()
		require.NoError(t, s.Stop(ended))
		require.NoDirExists(t, s.DataDir())
	})
	t.Run("AfterAHaltRemovesTheFolderToo", func(t *testing.T) {
		s := start(t, Config{Settings: unsynced()})
		require.NoError(t, s.Halt(t.Context()))
		require.DirExists(t, s.DataDir())
		require.NoError(t, s.Stop(t.Context()))
		require.NoDirExists(t, s.DataDir())
	})
}
