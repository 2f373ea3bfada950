package doctor

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
)

// A session at work, such as a dump, that looks at the database of long ago is named; it is no session that is idle.
func TestSnapshotOfASessionAtWorkIsNamed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	conn := b.Conn(t)
	for _, sql := range []string{"set application_name = 'long report'", "begin isolation level repeatable read", "select count(*) from events"} {
		_, err := conn.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _, _ = conn.Exec(ctx, "select pg_sleep(3600)") }()
	testdb.Eventually(t, patience, "the session to be at work", func() (bool, error) {
		var n int
		err := b.Pool.QueryRow(t.Context(), "select count(*) from pg_stat_activity where application_name = 'long report' and state = 'active'").Scan(&n)
		return n == 1, err
	})
	r := b.examine()
	b.requireWell()
	require.Zero(t, r.Failed)
	b.exec("update projections set state = state") // another transaction, which it does not see
	b.cfg.Long = 1                                 // a nanosecond
	b.requireOnly(b.examine(), "snapshots", Warn, "\"long report\"", "active, has looked at the database of", "pg_terminate_backend(")
	cancel()
	<-ended
}

func TestDeadRowsOfCheckpointsAreCounted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec("alter table projection_checkpoints set (autovacuum_enabled = false)")
	conn := b.Conn(t) // else whoever reads the table cleans it up
	for _, sql := range []string{"begin isolation level repeatable read", "select count(*) from events"} {
		_, err := conn.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	b.exec("do $$ begin for i in 1..5100 loop update projection_checkpoints set epoch = epoch; end loop; end $$")
	testdb.Eventually(t, patience, "the server to count them", func() (bool, error) { return b.examine().Warned > 0, nil })
	b.requireOnly(b.examine(), "snapshots", Warn, "dead rows", "vacuum projection_checkpoints")
	b.exec("alter table projection_workers set (autovacuum_enabled = false)")
	b.exec("insert into projection_workers (instance_id, label, assignment) select gen_random_uuid(), 'dead', 'elastic' from generate_series(1, 20100)")
	b.exec("delete from projection_workers where label = 'dead'")
	testdb.Eventually(t, patience, "the server to count them", func() (bool, error) {
		_, said := unwell(b.examine())
		return strings.Contains(said, "projection_workers has"), nil
	})
	b.requireOnly(b.examine(), "snapshots", Warn, "vacuum projection_checkpoints", "vacuum projection_workers")
}

// A role that may not see other roles' sessions is told so, and not that there are none.
func TestSnapshotsThatCannotBeSeenAreSaid(t *testing.T) {
	t.Parallel()
	b := setup(t)
	said := func() (text string) {
		for _, f := range b.examine().Findings {
			if f.Check == "snapshots" {
				text += f.Text
			}
		}
		return text
	}
	require.NotContains(t, said(), "cannot be seen")
	b.exec("revoke pg_read_all_stats from " + b.Name + "_worker")
	require.Contains(t, said(), "those of other roles cannot be seen without pg_read_all_stats")
}
