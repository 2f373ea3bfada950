package rebuild_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/projection"
)

// The live read model is wrong. The one that is built beside it takes its place, with its indexes, and goes on; nothing is left over.
func TestARebuildTakesThePlaceOfTheLiveReadModel(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec("create index counts_of_n on counts (n)")
	b.append(500, "e")
	w := b.start(tally{}).WaitStarted()
	b.countedTo("e", 500)
	b.exec("update counts set n = 7") // a bug
	before := b.int("select 'counts'::regclass::oid::bigint")

	require.NoError(t, projection.Rebuild(b.ctx, b.Pool, "p", "", nil))
	require.EqualValues(t, 500, b.counted("e"))
	require.NotEqual(t, before, b.int("select 'counts'::regclass::oid::bigint"))
	require.EqualValues(t, 1, b.int("select count(*) from pg_indexes where indexname = 'counts_of_n' and schemaname = 'public'"))
	require.Zero(t, b.leftovers())
	b.append(10, "e")
	b.countedTo("e", 510)
	w.MustStop()
}
