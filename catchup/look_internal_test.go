package catchup

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/migrations"
)

// Where glances follow each other, one of them looks at the triggers in time, so that no full read has to follow: an event at rest costs
// one statement to read.
func TestGlanceLooksAtTheTriggersBeforeAFullReadIsDue(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	log, err := Open(t.Context(), db.Pool)
	require.NoError(t, err)
	token, err := CurrentToken(t.Context(), db.Pool)
	require.NoError(t, err)
	s := NewSource(SourceConfig{Pool: db.Pool, BatchSize: 10})
	l := newLoop(s, log, token, func() {})
	l.reader.Turn(0, SlotsOf([]int{0}, 1))
	glance := func() (Batch, bool) {
		_, err := db.Pool.Exec(t.Context(), `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
			values ('thing', gen_random_uuid()::text, 1, 'e', '{}')`)
		require.NoError(t, err)
		b, ok, err := l.glance(t.Context())
		require.NoError(t, err)
		return b, ok
	}
	_, err = l.full(t.Context(), false) // which knows that the push trigger is on
	require.NoError(t, err)

	young := time.Now().Add(time.Hour) // whatever the time that this takes
	l.looked = young
	b, ok := glance()
	require.True(t, ok && b.AtHead && len(b.Events) == 1)
	require.True(t, l.owes, "the triggers were not looked at")
	require.Equal(t, young, l.looked)

	old := time.Now().Add(-fullLookEvery/2 - time.Millisecond)
	l.looked = old
	b, ok = glance()
	require.True(t, ok && b.AtHead && len(b.Events) == 1)
	require.False(t, l.owes, "they were looked at")
	require.True(t, l.looked.After(old))

	for _, trigger := range []string{"rouse_append_before", "rouse_append_after"} {
		_, err = db.Pool.Exec(t.Context(), "alter table events disable trigger "+trigger)
		require.NoError(t, err)
		l.looked = young
		_, ok = glance()
		require.True(t, ok, "it is not looked for yet")
		l.looked = old
		_, ok = glance()
		require.False(t, ok, "%s is off, of which a full read says what follows", trigger)
		_, err = db.Pool.Exec(t.Context(), "alter table events enable always trigger "+trigger)
		require.NoError(t, err)
		_, ok = glance()
		require.True(t, ok)
	}
}

// Behind what was carried comes a look at the triggers, whether there is another event or not: at once where the last one is old, and else
// it is owed.
func TestLookFollowsWhatWasCarried(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	ears := db.Conn(t)
	require.NoError(t, migrations.Carry(t.Context(), ears, true, nil))
	log, err := Open(t.Context(), db.Pool)
	require.NoError(t, err)
	token, err := CurrentToken(t.Context(), db.Pool)
	require.NoError(t, err)
	_, err = ears.Exec(t.Context(), fmt.Sprintf("listen rouse_%d; select pg_advisory_lock_shared(1919907155, %[1]d)", log.Events), pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
	l := newLoop(NewSource(SourceConfig{Pool: db.Pool, BatchSize: 10}), log, token, func() {})
	l.reader.Turn(0, SlotsOf([]int{0}, 1))
	take := func() Batch {
		_, err := db.Pool.Exec(t.Context(), `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
			values ('thing', gen_random_uuid()::text, 1, 'e', '{}')`)
		require.NoError(t, err)
		push, err := ears.WaitForNotification(t.Context())
		require.NoError(t, err)
		b, ok := l.take(t.Context(), []string{push.Payload})
		require.True(t, ok && len(b.Events) == 1)
		return b
	}
	_, err = l.full(t.Context(), false)
	require.NoError(t, err)
	require.False(t, l.owes)

	l.looked = time.Now().Add(time.Hour) // whatever the time that this takes
	l.counted = l.looked
	require.False(t, take().More)
	require.True(t, l.calm && l.owes, "the look is owed")

	l.looked = time.Now().Add(-fullLookEvery)
	require.True(t, take().More, "it follows at once")
	require.False(t, l.calm, "and is no glance")
	b, err := l.full(t.Context(), true)
	require.NoError(t, err)
	require.Empty(t, b.Events)
	require.False(t, l.owes)
}
