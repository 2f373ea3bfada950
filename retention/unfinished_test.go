package retention_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/retention"
)

// unfinished has 20 events, of which 19 are archived and none is removed: that was interrupted when it wanted to begin.
func unfinished(t *testing.T) (b *bundle, path string) {
	b = setup(t)
	b.append(2, 1, 10)
	b.at("p", 20)
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	holder, err := b.Pool.Begin(b.ctx)
	require.NoError(t, err)
	defer func() { _ = holder.Rollback(context.WithoutCancel(b.ctx)) }()
	_, err = holder.Exec(b.ctx, "select from rouse_retention for share")
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() {
		_, err := retention.Prune(ctx, b.Pool, retention.PruneOptions{Dir: b.dir})
		ended <- err
	}()
	path = filepath.Join(b.dir, "events-1-19.ndjson.zst")
	testdb.Eventually(t, patience, "the archive", func() (bool, error) {
		_, err := os.Stat(path)
		return err == nil, nil
	})
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	require.Len(t, b.rows(), 20)
	return b, path
}

// The naive form removes what it has written, whatever has become of it.
func TestNothingIsRemovedThatItsFileDoesNotHold(t *testing.T) {
	t.Parallel()
	t.Run("the file is damaged", func(t *testing.T) {
		t.Parallel()
		b, path := unfinished(t)
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, content[:len(content)-9], 0o600))
		_, err = retention.Prune(b.ctx, b.Pool, retention.PruneOptions{Dir: b.dir})
		require.ErrorIs(t, err, retention.ErrFile)
		require.Len(t, b.rows(), 20)
		require.NoError(t, os.WriteFile(path, content, 0o600))
		require.EqualValues(t, 18, b.prune(retention.PruneOptions{}).Removed)
	})
	t.Run("the event is another one by now", func(t *testing.T) {
		t.Parallel()
		b, _ := unfinished(t)
		b.exec(`update events set payload = '{"n":0}' where global_position = 7`)
		_, err := retention.Prune(b.ctx, b.Pool, retention.PruneOptions{Dir: b.dir})
		require.ErrorIs(t, err, retention.ErrDiffers)
		require.ErrorContains(t, err, "position 7")
		require.Len(t, b.rows(), 20)
	})
	t.Run("an event is gone", func(t *testing.T) {
		t.Parallel()
		b, _ := unfinished(t)
		b.exec(`delete from events where global_position = 7`)
		_, err := retention.Prune(b.ctx, b.Pool, retention.PruneOptions{Dir: b.dir})
		require.ErrorIs(t, err, retention.ErrDiffers)
		require.Len(t, b.rows(), 19)
	})
	t.Run("but what was erased meanwhile", func(t *testing.T) {
		t.Parallel()
		b, _ := unfinished(t)
		erased, err := retention.Erase(b.ctx, b.Pool, one, retention.EraseOptions{Delete: true})
		require.NoError(t, err)
		require.Len(t, erased.Archives, 1)
		b.prune(retention.PruneOptions{})
		_, err = retention.Restore(b.ctx, b.Pool, b.dir, 0)
		require.NoError(t, err)
		require.Len(t, b.rows(), 11)
	})
}
