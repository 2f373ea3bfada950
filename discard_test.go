package rouse_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/parked"
)

// An event that is parked under a new number of partitions, while one before it is discarded, does not wait for ever.
func TestDiscardBesideAResizeFreesWhatWaitsBehind(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := context.Background()
	b.exec("insert into projections (projection_name, partitions) values ('p', 2)")
	b.exec("insert into projection_checkpoints (projection_name, partition) select 'p', n from generate_series(0, 3) n")
	b.exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 'thing', a.id, v, 'e', '{}' from (select n::text as id from generate_series(1, 1000) n
			where hashtextextended(n::text collate "C", 0) & 3 = 3 limit 1) a, generate_series(5, 6) v`)
	const park = `insert into parked_events (projection_name, global_position, slot, event_id, aggregate_type, aggregate_id, aggregate_version, event_type)
		select 'p', global_position, slot, event_id, aggregate_type, aggregate_id, aggregate_version, event_type from events where aggregate_version = $1`
	b.exec(park, 5)

	resize, owner := b.Conn(t), b.Conn(t)
	for _, sql := range []string{"begin", "select from projections for no key update", "select from projection_checkpoints where partition < 2 order by partition for no key update"} {
		_, err := resize.Exec(ctx, sql)
		require.NoError(t, err)
	}
	for _, sql := range []string{"begin", "select from projection_checkpoints where partition = 3 for no key update"} {
		_, err := owner.Exec(ctx, sql)
		require.NoError(t, err)
	}
	waits := func() bool {
		return b.int("select count(*) from pg_locks where not granted and pid <> pg_backend_pid()") > 0
	}
	done := make(chan error, 1)
	go func() {
		_, err := parked.Discard(ctx, b.Pool, parked.Filter{Projection: "p", Position: b.first()})
		done <- err
	}()
	testdb.Eventually(t, patience, "the discard to wait for the resize", func() (bool, error) { return waits(), nil })
	for _, sql := range []string{"update projections set partitions = 4", "commit"} {
		_, err := resize.Exec(ctx, sql)
		require.NoError(t, err)
	}
	testdb.Eventually(t, patience, "the discard to wait for the owner, or to be over", func() (bool, error) { return len(done) > 0 || waits(), nil })
	_, err := owner.Exec(ctx, park, 6)
	require.NoError(t, err)
	_, err = owner.Exec(ctx, "commit")
	require.NoError(t, err)
	require.NoError(t, <-done)
	require.EqualValues(t, 1, b.int("select count(*) from parked_events"))
	require.EqualValues(t, 1, b.int("select count(*) from parked_events where aggregate_version = 6 and retry_requested_at is not null"), "nothing is parked before it")
}

// first is the position of the first event.
func (b *bundle) first() int64 { return b.int("select min(global_position) from events") }
