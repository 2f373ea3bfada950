package dashboard_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Texts that others choose may have any length, those of events from before the bounds as well: each is cut where it is read, and the
// page shows the rest of what it has.
func TestTextsOfAnyLengthDoNotBlindThePage(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	exec := func(sql string) {
		_, err := b.db.Pool.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	exec("alter table events drop constraint events_event_type_length")
	exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 'thing', 'a' || n, n, repeat('日', 7000000), '{}' from generate_series(1, 12) n`)
	exec("insert into projections (projection_name, partitions, state, last_error) values ('p', 1, 'stopped', repeat('e', 20000000))")
	exec("insert into projection_checkpoints (projection_name, partition) values ('p', 0)")
	exec(`insert into parked_events (projection_name, global_position, event_id, aggregate_type, aggregate_id, aggregate_version, event_type, slot, attempts, last_error)
		select 'p', global_position, event_id, aggregate_type, aggregate_id, aggregate_version, event_type, slot, 1, repeat('e', 7000000) from events`)
	exec(`insert into projection_workers (instance_id, label, assignment, host, states, avoids, lease_ttl_ms) select gen_random_uuid(),
		repeat('l', 20000000), 'elastic', repeat('h', 20000000), jsonb_build_object(repeat('s', 20000000), 1), jsonb_build_object(repeat('s', 20000000), 1), 3600000`)

	w := b.watch()
	name, data, err := w.read()
	require.NoError(t, err)
	require.Equal(t, "snapshot", name)
	require.Less(t, len(data), 100_000)
	var s struct {
		snapshot
		Projections []struct{ Error string }
		Workers     []struct{ Label, Host string }
		Events      []struct{ Type string }
		Parked      []struct{ Type, Error string }
	}
	require.NoError(t, json.Unmarshal([]byte(data), &s))
	require.Empty(t, s.Error)
	require.Len(t, s.Events, 12)
	require.Len(t, s.Parked, 12)
	require.Equal(t, strings.Repeat("日", 300), s.Events[0].Type)
	require.Equal(t, strings.Repeat("日", 300), s.Parked[0].Type)
	require.Equal(t, strings.Repeat("e", 2000), s.Parked[0].Error)
	require.Equal(t, strings.Repeat("e", 2000), s.Projections[0].Error)
	require.Equal(t, strings.Repeat("l", 300), s.Workers[0].Label)
	require.Equal(t, strings.Repeat("h", 300), s.Workers[0].Host)
}
