package cli

import (
	"context"
	"encoding/json"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
)

func appendThing(t *testing.T, db *testdb.DB, aggregateType, id, eventType string) {
	t.Helper()
	mustExec(t, db.Pool, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		values ($1, $2, 1, $3, '{"secret": 1}')`, aggregateType, id, eventType)
}

// tailed waits until a tail has printed so many lines, and returns them as events.
func tailed(t *testing.T, p *workertest.Program, n int) []eventstore.Event {
	t.Helper()
	var lines []string
	testdb.Eventually(t, processTimeout, "the events to be shown", func() (bool, error) {
		lines = strings.Split(strings.TrimSuffix(p.Stdout.String(), "\n"), "\n")
		return len(lines) >= n && lines[n-1] != "" && strings.HasSuffix(p.Stdout.String(), "\n"), nil
	})
	events := make([]eventstore.Event, len(lines))
	for i, line := range lines {
		require.NoError(t, json.Unmarshal([]byte(line), &events[i]), line)
	}
	return events
}

// TestTailShowsWhatIsAppended: not what was there before, in order, without payloads, and an event behind an append that is
// open only when that has ended. Ctrl+C ends it in order.
func TestTailShowsWhatIsAppended(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	db := testdb.New(t)
	appendThing(t, db, "order", "old", "OrderPlaced")
	p := startRouse(t, on(db), "tail", "--json")
	testdb.Eventually(t, processTimeout, "the tail to sleep", func() (bool, error) {
		return strings.Contains(p.Stderr.String(), `"mode":"quiet"`), nil
	})
	tx, err := db.Pool.Begin(ctx)
	require.NoError(t, err)
	_, err = tx.Exec(ctx, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values ('order', 'slow', 1, 'OrderPlaced', '{}')`)
	require.NoError(t, err)
	appendThing(t, db, "order", "behind", "OrderPlaced")
	require.NoError(t, tx.Commit(ctx))
	events := tailed(t, p, 2)
	require.Len(t, events, 2)
	assert.Equal(t, "slow", events[0].AggregateID)
	assert.Equal(t, "behind", events[1].AggregateID)
	assert.NotContains(t, p.Stdout.String(), "secret")
	p.Signal(t, syscall.SIGINT)
	assert.Zero(t, p.Wait(t), "it was to end")
}

// TestTailFilters by type, by aggregate and by position, and shows payloads if it is asked to.
func TestTailFilters(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	appendThing(t, db, "order", "o-1", "OrderPlaced")
	appendThing(t, db, "user", "u-1", "UserRegistered")
	appendThing(t, db, "order", "o-2", "OrderPlaced")
	appendThing(t, db, "order", "o-2/x", "OrderPaid")
	for _, tc := range []struct {
		args []string
		want []string
	}{
		{[]string{"--from", "0", "--count", "4"}, []string{"o-1", "u-1", "o-2", "o-2/x"}},
		{[]string{"--from", "1", "--count", "3"}, []string{"u-1", "o-2", "o-2/x"}},
		{[]string{"--from", "0", "--count", "2", "--type", "UserRegistered,OrderPaid"}, []string{"u-1", "o-2/x"}},
		{[]string{"--from", "0", "--count", "1", "--aggregate", "order/o-2/x"}, []string{"o-2/x"}},
		{[]string{"--from", "0", "--count", "3", "--aggregate", "order/o-2,user,order/o-1", "--poll-only"}, []string{"o-1", "u-1", "o-2"}},
	} {
		var ids []string
		for line := range strings.Lines(mustRouse(t, db, append([]string{"tail", "--json"}, tc.args...)...)) {
			var ev eventstore.Event
			require.NoError(t, json.Unmarshal([]byte(line), &ev))
			ids = append(ids, ev.AggregateID)
		}
		assert.Equal(t, tc.want, ids, "%v", tc.args)
	}
	text := mustRouse(t, db, "tail", "--from", "0", "--count", "1", "--payload")
	assert.Contains(t, text, `order/o-1  v1  OrderPlaced  {"secret": 1}`)
	requireFault(t, runRouse(t, on(db), "tail", "--from", "yesterday"), exitUsage, "--from yesterday")
}

// TestTailFromBeyondTheEndSaysSoAndWaits: a position out of another log, or one that is still to come.
func TestTailFromBeyondTheEndSaysSoAndWaits(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	appendThing(t, db, "order", "1", "OrderPlaced")
	p := startRouse(t, on(db), "tail", "--json", "--from", "3", "--count", "1")
	testdb.Eventually(t, processTimeout, "the tail to sleep", func() (bool, error) {
		return strings.Contains(p.Stderr.String(), `"mode":"quiet"`), nil
	})
	assert.Contains(t, p.Stderr.String(), "the log ends before the position of --from")
	for _, id := range []string{"2", "3", "4"} {
		appendThing(t, db, "order", id, "OrderPlaced")
	}
	require.Zero(t, p.Wait(t), p.Stderr.String())
	events := tailed(t, p, 1)
	assert.Equal(t, []string{"4"}, []string{events[0].AggregateID})
}
