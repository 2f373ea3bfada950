//go:build unix

package pgserver

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func standby(t *testing.T, s *Server) *Server {
	t.Helper()
	b, err := s.Standby(t.Context())
	require.NoError(t, err)
	stopAtCleanup(t, b)
	return b
}

// follows waits until the standby shows n rows of t.
func follows(t *testing.T, b *Server, n int) {
	t.Helper()
	eventually(t, "the standby to catch up", func() bool {
		return value[int](t, b, "select count(*) from t") == n
	})
}

func TestStandby(t *testing.T) {
	t.Parallel()
	s := start(t, Config{Settings: unsynced()})
	require.NoError(t, s.exec(t.Context(), "create table t (n int)"))
	require.NoError(t, s.exec(t.Context(), "create unlogged table u as select 1 as n"))
	require.NoError(t, s.exec(t.Context(), "insert into t values (1)"))

	b := standby(t, s)
	require.NotEqual(t, s.Port(), b.Port())
	follows(t, b, 1)

	t.Run("StreamsAndIsReadOnly", func(t *testing.T) {
		require.NoError(t, s.exec(t.Context(), "insert into t values (2)"))
		follows(t, b, 2)
		require.Error(t, b.exec(t.Context(), "insert into t values (0)"))
		require.Equal(t, "async", value[string](t, s, "select sync_state from pg_stat_replication"))
	})
	t.Run("StreamsOnAfterARestartOfEither", func(t *testing.T) {
		require.NoError(t, b.Crash(t.Context()))
		require.NoError(t, s.exec(t.Context(), "insert into t values (3)"))
		require.NoError(t, s.exec(t.Context(), "select pg_switch_wal()"))
		require.NoError(t, s.exec(t.Context(), "checkpoint"), "the slot keeps the log that the standby misses")
		require.NoError(t, b.Restart(t.Context()))
		follows(t, b, 3)

		require.NoError(t, s.Crash(t.Context()))
		require.NoError(t, s.Restart(t.Context()))
		require.NoError(t, s.exec(t.Context(), "insert into t values (4)"))
		follows(t, b, 4)
	})
	t.Run("CannotBeCopiedItself", func(t *testing.T) {
		_, err := b.Standby(t.Context())
		require.ErrorContains(t, err, "Promote")
	})
	t.Run("TakesOverWithoutWhatItDidNotReceive", func(t *testing.T) {
		require.NoError(t, b.Pause())
		require.NoError(t, s.exec(t.Context(), "insert into t values (5)"), "the source does not wait for it")
		require.NoError(t, s.Crash(t.Context()))
		require.NoError(t, b.Resume())

		require.NoError(t, b.Promote(t.Context()))
		require.NoError(t, b.exec(t.Context(), "insert into t values (6)"))
		require.Zero(t, value[int](t, b, "select count(*) from u"), "promotion empties unlogged tables")
		require.NoError(t, b.Crash(t.Context()))
		require.NoError(t, b.Restart(t.Context()))
		require.False(t, value[bool](t, b, "select pg_is_in_recovery()"), "it stays what it is")
		require.Error(t, b.Promote(t.Context()))
		follows(t, standby(t, b), value[int](t, b, "select count(*) from t"))
	})
}

func TestStandbyLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	s := start(t, Config{Settings: unsynced()})
	b, err := s.Standby(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, value[int](t, s, "select count(*) from pg_replication_slots"))
	require.NoError(t, b.Stop(t.Context()))
	require.NoDirExists(t, b.DataDir())
	require.Zero(t, value[int](t, s, "select count(*) from pg_replication_slots"), "a slot would keep the log for ever")

	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err = s.Standby(ctx)
	require.Error(t, err)
	require.Zero(t, value[int](t, s, "select count(*) from pg_replication_slots"))
}

func TestStandbyIsCopiedWhileOthersWrite(t *testing.T) {
	t.Parallel()
	s := start(t, Config{Settings: unsynced()})
	require.NoError(t, s.exec(t.Context(), "create table t (n int primary key, filler text default repeat('x', 500))"))

	writer := connect(t, s)
	enough, written := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-enough:
				written <- n
				return
			default:
			}
			if _, err := writer.Exec(context.Background(), "insert into t select generate_series($1::int, $1::int + 99)", n); err != nil {
				written <- -1
				return
			}
			n += 100
		}
	}()
	b := standby(t, s)
	close(enough)
	n := <-written
	require.Positive(t, n)
	follows(t, b, n)
	require.Equal(t, value[string](t, s, "select md5(string_agg(n::text, ',' order by n)) from t"),
		value[string](t, b, "select md5(string_agg(n::text, ',' order by n)) from t"))
}
