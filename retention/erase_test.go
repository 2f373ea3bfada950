package retention_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/retention"
)

var one = eventstore.Stream{Type: "order", ID: "o1"}

// person appends events of one aggregate that hold a secret, between those of another, and has one parked and one tried.
func (b *bundle) person() {
	b.t.Helper()
	b.append(2, 1, 6)
	b.exec(`update events set payload = '{"name":"s3cret"}', metadata = '{"by":"s3cret"}' where aggregate_id = 'o1'`)
	b.at("p", 12)
	b.exec(`insert into parked_events (projection_name, global_position, event_id, aggregate_type, aggregate_id, aggregate_version, slot, event_type, last_error)
		select 'p', global_position, event_id, aggregate_type, aggregate_id, aggregate_version, slot, event_type, 's3cret' from events where global_position in (3, 5)`)
	b.exec(`insert into event_attempts (projection_name, global_position, slot, attempts, last_error) select 'p', 7, slot, 1, 's3cret' from events where global_position = 7`)
	b.exec(`update projections set last_error = 's3cret', error_position = 7`)
}

// secrets counts the rows of all tables that hold the secret.
func (b *bundle) secrets() int64 {
	b.t.Helper()
	return b.int(`select count(*) from (select e::text from events e union all select p::text from parked_events p
		union all select a::text from event_attempts a union all select p::text from projections p union all select r::text from rouse_erasures r) t (row) where row like '%s3cret%'`)
}

func TestErasureReplacesWhatIsInTheEventsOfAnAggregate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.person()
	require.NotZero(t, b.secrets())
	erased, err := retention.Erase(b.ctx, b.Pool, one, retention.EraseOptions{Payload: `{"erased":true}`})
	require.NoError(t, err)
	assert.EqualValues(t, 6, erased.Replaced)
	assert.EqualValues(t, 2, erased.Parked)
	assert.Equal(t, []string{"p"}, erased.Handled)
	assert.Zero(t, b.secrets())
	assert.EqualValues(t, 6, b.int(`select count(*) from events where aggregate_id = 'o1' and payload::text = '{"erased":true}' and metadata::text = '{}'`))
	assert.EqualValues(t, 6, b.int(`select count(*) from events where aggregate_id = 'o2' and metadata::text like '%test%'`), "the other is as it was")
	assert.EqualValues(t, 2, b.int("select count(*) from parked_events where retry_requested_at is null"))
	_, err = retention.Erase(b.ctx, b.Pool, eventstore.Stream{Type: "order", ID: "nobody"}, retention.EraseOptions{})
	require.ErrorIs(t, err, retention.ErrNoStream)
	_, err = retention.Erase(b.ctx, b.Pool, one, retention.EraseOptions{Payload: "{"})
	require.ErrorIs(t, err, retention.ErrPayload)
}

func TestADeletedStreamGivesNoVersionOutAgainAndTheLagStaysANumber(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.person()
	b.append(1, 7, 7) // the last event of the log is the person's
	b.at("p", 13)
	erased, err := retention.Erase(b.ctx, b.Pool, one, retention.EraseOptions{Delete: true})
	require.NoError(t, err)
	assert.EqualValues(t, 6, erased.Deleted)
	assert.EqualValues(t, 1, erased.Replaced)
	assert.Zero(t, b.secrets())
	assert.Zero(t, b.int(seedLag+" limit 1", "p"))
	assert.EqualValues(t, 1, b.int("select count(*) from parked_events where retry_requested_at is not null"), "the owner takes out of the queue what is gone")
	require.NoError(t, pgx.BeginFunc(b.ctx, b.Pool, func(tx pgx.Tx) error {
		appended, err := eventstore.Append(b.ctx, tx, one, eventstore.Exact(7), eventstore.NewEvent{Type: "Back", Payload: []byte("{}")})
		assert.EqualValues(t, 8, appended.FirstVersion)
		return err
	}))
}

func TestErasureReachesArchivesAndNoRestoreBringsItBack(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]retention.EraseOptions{"replaced": {}, "deleted": {Delete: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.person()
			b.exec("delete from parked_events")
			b.append(30, 7, 7)
			b.at("p", 42)
			b.prune(retention.PruneOptions{FileEvents: 8}) // 1-8 9-16 17-24 25-32 33-40 41
			erased, err := retention.Erase(b.ctx, b.Pool, one, opts)
			require.NoError(t, err)
			require.Len(t, erased.Archives, 2, "those that hold it are named: the others of %d are not", 6)
			_, err = retention.Restore(b.ctx, b.Pool, b.dir, 0)
			require.NoError(t, err)
			require.Zero(t, b.secrets(), "a restore does not bring it back")
			require.True(t, b.archived("s3cret"))
			b.prune(retention.PruneOptions{})

			opts.Dir = b.dir
			erased, err = retention.Erase(b.ctx, b.Pool, one, opts)
			require.NoError(t, err)
			require.Len(t, erased.Rewritten, 2)
			require.Empty(t, erased.Archives)
			require.False(t, b.archived("s3cret"), "and archives are written anew where that is asked for")
			verified, err := retention.Verify(b.ctx, b.Pool, b.dir)
			require.NoError(t, err)
			require.Empty(t, verified.Faults)
			_, err = retention.Restore(b.ctx, b.Pool, b.dir, 0)
			require.NoError(t, err)
			require.Zero(t, b.secrets())
			require.EqualValues(t, 6, b.int("select count(*) from events where aggregate_id = 'o2' and aggregate_version < 7"))
		})
	}
}

// archived reports whether an archive holds a text.
func (b *bundle) archived(text string) bool {
	b.t.Helper()
	all, err := retention.Archives(context.WithoutCancel(b.ctx), b.Pool)
	require.NoError(b.t, err)
	for _, a := range all {
		if strings.Contains(retention.Text(b.t, a.Path), text) {
			return true
		}
	}
	return false
}
