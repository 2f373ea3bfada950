package retention_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/retention"
)

// course tags every event of the first aggregate.
func (b *bundle) course() {
	b.t.Helper()
	b.exec(`insert into event_tags (tag, event_id) select 'course:1', event_id from events where aggregate_id = 'o1' order by global_position`)
	b.exec(`insert into event_tags (tag, event_id) select 'course:2', event_id from events where aggregate_id = 'o2' order by global_position`)
}

// decide reads by a tag and appends if nothing came; it returns how many events it has read.
func (b *bundle) decide(tag string) (int, error) {
	b.t.Helper()
	events, condition, err := eventstore.ReadTagged(b.ctx, b.Pool, eventstore.Match{Tags: []string{tag}})
	if err != nil {
		return 0, err
	}
	return len(events), pgx.BeginFunc(b.ctx, b.Pool, func(tx pgx.Tx) error {
		_, err := eventstore.AppendIf(b.ctx, tx, condition, eventstore.Stream{Type: "decided", ID: tag},
			eventstore.Tagged{NewEvent: eventstore.NewEvent{Type: "Decided", Payload: []byte("{}")}})
		return err
	})
}

func TestDecisionsOverWhatIsArchivedAreRefusedUntilItIsRestored(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.person()
	b.course()
	b.exec("delete from parked_events")
	_, err := retention.Prune(b.ctx, b.Pool, retention.PruneOptions{Dir: b.dir})
	require.NoError(t, err)
	require.Less(t, b.int("select count(*) from events where aggregate_id = 'o1'"), int64(6))
	_, err = b.decide("course:1")
	require.ErrorIs(t, err, eventstore.ErrGone)
	_, err = retention.Restore(b.ctx, b.Pool, b.dir, 0)
	require.NoError(t, err)
	n, err := b.decide("course:1")
	require.NoError(t, err)
	require.Equal(t, 6, n)
}

func TestErasureTakesTagsAway(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]retention.EraseOptions{"replaced": {}, "deleted": {Delete: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.person()
			b.course()
			erased, err := retention.Erase(b.ctx, b.Pool, one, opts)
			require.NoError(t, err)
			require.EqualValues(t, 6, erased.Tagged)
			n, err := b.decide("course:1")
			require.NoError(t, err)
			require.Zero(t, n)
			n, err = b.decide("course:2")
			require.NoError(t, err)
			require.Equal(t, 6, n, "the other is as it was")
		})
	}
}

// Nothing but the archive says whose the events were that have left the log.
func TestErasureTakesTheTagsOfArchivedEventsAwayWithTheArchive(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.person()
	b.course()
	b.exec("delete from parked_events")
	_, err := retention.Prune(b.ctx, b.Pool, retention.PruneOptions{Dir: b.dir})
	require.NoError(t, err)
	erased, err := retention.Erase(b.ctx, b.Pool, one, retention.EraseOptions{Dir: b.dir})
	require.NoError(t, err)
	require.EqualValues(t, 6, erased.Tagged)
	require.Zero(t, b.int("select count(*) from event_tags where tag = 'course:1'"))
	require.EqualValues(t, 6, b.int("select count(*) from event_tags where tag = 'course:2'"))
}
