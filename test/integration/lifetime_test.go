package integration_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/testdb"
)

// heldSQL counts the session-level locks of Rouse in this database: the sleepers' ('rouS') and those of presence ('rouP').
const heldSQL = `select count(*) from pg_locks where locktype = 'advisory' and objsubid = 2 and classid in (1919907155, 1919907152)
	and database = (select oid from pg_database where datname = current_database())`

// A pool ends its connections when they are old. What a worker holds for as long as it lives, its place among the sleepers
// and its presence, is on connections of its own.
func TestPoolThatRecyclesItsConnectionsLeavesTheListenerAlone(t *testing.T) {
	t.Parallel()
	s := newStage(t, testdb.New(t))
	pool, _ := s.watchedPool(s.URL, func(cfg *pgxpool.Config) {
		cfg.MaxConnLifetime, cfg.MaxConnLifetimeJitter = 300*time.Millisecond, 0
		cfg.HealthCheckPeriod = 100 * time.Millisecond
	})
	modes := make(chan string, 100)
	w := s.start(pool, rouse.Config{
		Projections: []rouse.Projection{recorder{name: "r"}}, LeaseTTL: 20 * time.Second, // which no machine takes by standing still
		Observer: rouse.Observer{Mode: func(mode string) { modes <- mode }},
	}).WaitStarted()
	require.Equal(t, "quiet", <-modes)
	const holders = `select sum(pid)::bigint from pg_locks where locktype = 'advisory' and objsubid = 2 and classid in (1919907155, 1919907152)
		and database = (select oid from pg_database where datname = current_database())`
	before, epochs := s.int(holders), s.int("select sum(epoch)::bigint from projection_checkpoints")
	require.EqualValues(t, 3, s.int(heldSQL))
	for pool.Stat().MaxLifetimeDestroyCount() < 6 {
		recycled, woken := pool.Stat().MaxLifetimeDestroyCount(), w.Status().LastWake
		s.append(s.Pool, "a")
		testdb.Eventually(t, patience, "a push", func() (bool, error) { return w.Status().LastWake.After(woken), nil })
		s.exact("r")
		testdb.Eventually(t, patience, "connections to be recycled", func() (bool, error) {
			return pool.Stat().MaxLifetimeDestroyCount() > recycled, nil
		})
	}
	require.Equal(t, before, s.int(holders), "the same sessions hold the same locks")
	require.Equal(t, epochs, s.int("select sum(epoch)::bigint from projection_checkpoints"), "nothing has changed hands")
	require.Empty(t, modes, "the push was there all the time")
	w.MustStop()
}
