package retention_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/retention"
)

// odd appends events whose payloads are what JSON allows and a line does not.
func (b *bundle) odd() {
	b.t.Helper()
	for n, payload := range []string{
		`{"a":1}`, ` {"a" : 1.0e400 } `, "{\n\t\"a\":\r\n[]}", `"\u0000\ud83d\ude00 <&> é"`, `"\ud800"`, `null`, `{"a":1,"a":2}`, "[1,\n\n2]",
		`"back\\slash \"quoted\" ` + "\u2028" + `"`, `123456789012345678901234567890.10`,
	} {
		_, err := b.Pool.Exec(b.ctx, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, event_version, payload, metadata, created_at)
			values ('odd', E'a"b\n<é>', $1, 'It''s', 3, $2::text::json, E'{\n}', '1999-12-31 23:59:59.999999+13')`, n+1, payload)
		require.NoError(b.t, err, payload)
	}
}

func TestWhatIsRestoredIsByteForByteWhatItWas(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.odd()
	b.append(3, 1, 10)
	b.at("p", 40)
	before := b.rows()
	pruned := b.prune(retention.PruneOptions{Batch: 4, FileEvents: 9})
	require.NotEqual(t, before, b.rows())
	verified, err := retention.Verify(b.ctx, b.Pool, b.dir)
	require.NoError(t, err)
	assert.Empty(t, verified.Faults)
	assert.Equal(t, len(pruned.Archives), verified.Files)
	restored, err := retention.Restore(b.ctx, b.Pool, b.dir, 0)
	require.NoError(t, err)
	assert.Equal(t, pruned.Removed, restored.Events)
	assert.Zero(t, restored.WholeFrom)
	require.Equal(t, before, b.rows())

	sums := b.sums()
	again := b.prune(retention.PruneOptions{Batch: 4, FileEvents: 9})
	assert.Equal(t, pruned.Removed, again.Removed, "what was restored goes again")
	assert.Equal(t, sums, b.sums(), "into the same files")
}

func (b *bundle) sums() map[string]string {
	b.t.Helper()
	entries, err := os.ReadDir(b.dir)
	require.NoError(b.t, err)
	out := map[string]string{}
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(b.dir, e.Name()))
		require.NoError(b.t, err)
		out[e.Name()] = string(content)
	}
	return out
}

func TestRestoreOfTheLaterArchivesMakesTheLogWholeBehindThem(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(1, 1, 31)
	b.at("p", 31)
	b.prune(retention.PruneOptions{FileEvents: 10})
	restored, err := retention.Restore(b.ctx, b.Pool, b.dir, 15)
	require.NoError(t, err)
	assert.EqualValues(t, 20, restored.Events, "those from 11 to 30: 15 is in the second of three")
	assert.EqualValues(t, 10, restored.WholeFrom)
}

func TestRestoreMeetsAnotherEventAndChangesNothingOfWhatIsKnown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(1, 1, 10)
	b.at("p", 10)
	b.prune(retention.PruneOptions{})
	b.exec(`insert into events (global_position, aggregate_type, aggregate_id, aggregate_version, event_type, payload) overriding system value values (4, 'x', 'x', 1, 'x', '{}')`)
	_, err := retention.Restore(b.ctx, b.Pool, b.dir, 0)
	require.ErrorIs(t, err, retention.ErrDiffers)
	require.ErrorContains(t, err, "position 4")
	require.EqualValues(t, 9, b.int("select whole_from from rouse_retention"))
	b.exec("delete from events where global_position = 4")
	_, err = retention.Restore(b.ctx, b.Pool, b.dir, 0)
	require.NoError(t, err, "and goes on once that is mended")
	require.Len(t, b.rows(), 10)
}

func TestVerifyFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(1, 1, 41)
	b.at("p", 41)
	b.prune(retention.PruneOptions{FileEvents: 10})
	path := func(name string) string { return filepath.Join(b.dir, name) }
	content, err := os.ReadFile(path("events-1-10.ndjson.zst"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path("events-1-10.ndjson.zst"), content[:len(content)-20], 0o600))     // cut
	require.NoError(t, os.Rename(path("events-11-20.ndjson.zst"), path("events-21-30.ndjson.zst")))        // misnamed, and one is gone
	require.NoError(t, os.WriteFile(path("events-50-60.ndjson.zst"), []byte("no archive"), 0o600))         // foreign
	b.exec("update rouse_archives set sha256 = decode(repeat('ab', 32), 'hex') where first_position = 31") // another
	verified, err := retention.Verify(b.ctx, b.Pool, b.dir)
	require.NoError(t, err)
	require.Zero(t, verified.Files)
	require.Len(t, verified.Faults, 5, "%q", verified.Faults)
	_, err = retention.Restore(b.ctx, b.Pool, b.dir, 0)
	require.ErrorIs(t, err, retention.ErrFile)
	require.Len(t, b.rows(), 1)
}
