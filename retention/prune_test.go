package retention_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/retention"
)

func TestWhatEveryProjectionHasHandledLeavesTheLogForAnArchive(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(3, 1, 10) // 1 to 30, the last of each stream 28, 29, 30
	b.at("fast", 30)
	b.at("slow", 20)
	pruned := b.prune(retention.PruneOptions{OlderThan: soon, Batch: 7, FileEvents: 12})
	assert.EqualValues(t, 20, pruned.Removed)
	assert.EqualValues(t, 20, pruned.Until)
	require.Len(t, pruned.Archives, 2)
	assert.FileExists(t, filepath.Join(b.dir, "events-1-12.ndjson.zst"))
	assert.FileExists(t, filepath.Join(b.dir, "events-13-20.ndjson.zst"))
	assert.EqualValues(t, 10, b.int("select count(*) from events"))
	assert.EqualValues(t, 20, b.int("select whole_from from rouse_retention"))
	left, err := filepath.Glob(filepath.Join(b.dir, ".*"))
	require.NoError(t, err)
	assert.Empty(t, left, "nothing is left half written")

	again := b.prune(retention.PruneOptions{OlderThan: soon})
	assert.Zero(t, again.Removed)
	assert.Empty(t, again.Archives)
}

func TestTheLastEventOfTheLogAndOfEachStreamStays(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(3, 1, 4) // 1 to 12
	b.append(1, 5, 5) // 13
	b.at("p", 13)
	b.prune(retention.PruneOptions{})
	assert.Len(t, b.rows(), 3, "the last of each stream")
	assert.Zero(t, b.int(seedLag+" limit 1", "p"))
	b.append(3, 6, 6) // 14 to 16
	b.at("p", 16)
	pruned := b.prune(retention.PruneOptions{})
	assert.Len(t, b.rows(), 3, "and what had stayed goes once it is the last no more")
	assert.EqualValues(t, 2, pruned.Superseded) // 11 and 12; 13 goes out of the new archive
	b.prune(retention.PruneOptions{LastToo: true})
	assert.Len(t, b.rows(), 1, "the last of the log stays in any case")
	assert.Zero(t, b.int(seedLag+" limit 1", "p"), "the lag is 0, and not null")
}

func TestAgeKeepsWhatIsYoung(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(1, 1, 10)
	b.exec("update events set created_at = clock_timestamp() where global_position = 6")
	b.at("p", 10)
	plan, err := retention.PlanPrune(b.ctx, b.Pool, retention.PruneOptions{OlderThan: soon})
	require.NoError(t, err)
	assert.EqualValues(t, 5, plan.Events)
	assert.EqualValues(t, 5, b.prune(retention.PruneOptions{OlderThan: soon}).Removed, "nothing behind the first that is young")
	assert.EqualValues(t, 5, b.int("select count(*) from events"))
}

func TestNothingThatAProjectionMayStillNeedLeavesTheLog(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		sql  string
		why  string
		upTo int64
	}{
		"a partition lags":   {`update projection_checkpoints set last_global_position = 4 where projection_name = 'p' and partition = 1`, "checkpoint", 4},
		"paused":             {`update projections set state = 'paused'; update projection_checkpoints set last_global_position = 4 where projection_name = 'p'`, "checkpoint", 4},
		"stopped":            {`update projections set state = 'stopped'; update projection_checkpoints set last_global_position = 4 where projection_name = 'p'`, "checkpoint", 4},
		"an event is parked": {`insert into parked_events (projection_name, global_position, event_id, aggregate_type, aggregate_id, aggregate_version, slot, event_type) select 'p', global_position, event_id, aggregate_type, aggregate_id, aggregate_version, slot, event_type from events where global_position = 5`, "parked", 4},
		"a reset is wanted":  {`update projections set reset_to = 4, reset_error = 'x'`, "reset", 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.append(2, 1, 10)
			b.at("p", 20)
			b.exec(tc.sql)
			pruned := b.prune(retention.PruneOptions{})
			assert.Equal(t, tc.upTo, pruned.Until)
			assert.Equal(t, "p", pruned.Holders[0].Projection)
			assert.Equal(t, tc.why, pruned.Holders[0].Why)
			assert.EqualValues(t, tc.upTo, pruned.Removed)
			assert.EqualValues(t, tc.upTo+1, b.int("select min(global_position) from events"), "age alone would have removed all of it")
		})
	}
}

func TestALogThatNobodyReadsIsNotPruned(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(1, 1, 3)
	_, err := retention.Prune(b.ctx, b.Pool, retention.PruneOptions{Dir: b.dir})
	require.ErrorIs(t, err, retention.ErrNoReaders)
}

func TestAColumnThatAnArchiveWouldLoseStopsIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(1, 1, 3)
	b.at("p", 3)
	b.exec("alter table events add column tenant text")
	_, err := retention.Prune(b.ctx, b.Pool, retention.PruneOptions{Dir: b.dir})
	require.ErrorIs(t, err, retention.ErrColumns)
	require.ErrorContains(t, err, "tenant")
}

func TestAFileOfAnotherLogIsNotWrittenOver(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(1, 1, 3)
	b.at("p", 3)
	other := filepath.Join(b.dir, "events-1-2.ndjson.zst")
	require.NoError(t, os.WriteFile(other, []byte("another's"), 0o600))
	_, err := retention.Prune(b.ctx, b.Pool, retention.PruneOptions{Dir: b.dir})
	require.ErrorIs(t, err, retention.ErrExists)
	require.Len(t, b.rows(), 3)
}

func TestStandardOutputGetsOneArchiveAndThenTheEventsGo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(1, 1, 10)
	b.at("p", 10)
	before := b.rows()
	_, err := retention.Prune(b.ctx, b.Pool, retention.PruneOptions{Out: broken{}})
	require.ErrorContains(t, err, "nothing was removed")
	require.Equal(t, before, b.rows())
	require.Zero(t, b.int("select count(*) from rouse_archives"))
	var out bytes.Buffer
	pruned := b.prune(retention.PruneOptions{Out: &out, FileEvents: 5})
	require.EqualValues(t, 5, pruned.Removed)
	require.Equal(t, "events-1-5.ndjson.zst", pruned.Archives[0].Path)
	require.NoError(t, os.WriteFile(filepath.Join(b.dir, pruned.Archives[0].Path), out.Bytes(), 0o600))
	restored, err := retention.Restore(b.ctx, b.Pool, b.dir, 0)
	require.NoError(t, err)
	require.EqualValues(t, 5, restored.Events)
	require.Equal(t, before, b.rows())
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, os.ErrClosed }
