package catchup_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/catchup"
)

// looks counts the looks at the locks that go through a connection.
type looks struct{ n atomic.Int64 }

func (l *looks) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return ctx
}

func (l *looks) TraceBatchQuery(_ context.Context, _ *pgx.Conn, data pgx.TraceBatchQueryData) {
	if strings.Contains(data.SQL, "pg_locks") {
		l.n.Add(1)
	}
}

func (l *looks) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

func (l *looks) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

func (l *looks) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// What one look at the locks has settled is read without another, and nothing beyond it: an append that begins meanwhile holds
// back what is above it as ever.
func TestWhatIsSettledIsReadWithoutAnotherLookAndNothingElseIs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var seen looks
	pool := b.pool(pgx.QueryExecModeCacheStatement, 2, func(cfg *pgxpool.Config) { cfg.ConnConfig.Tracer = &seen })
	reader := b.reader(pool, 0)
	old := b.append(b.Pool, 8)
	expect := func(positions []int64, looked int64) {
		t.Helper()
		before := seen.n.Load()
		found, _ := b.next(reader, 3)
		require.Equal(t, positions, found)
		require.Equal(t, looked, seen.n.Load()-before)
	}
	expect(old[:3], 1)

	slow := b.begin(pgx.ReadCommitted)
	hole := b.append(slow, 1)
	above := b.append(b.Pool, 1)
	expect(old[3:6], 0)
	expect(old[6:8], 0)
	expect([]int64{}, 1)
	require.NoError(t, slow.Commit(b.ctx))
	expect(append(hole, above...), 1)
}

// Below a known horizon the incarnation is tested too: after a crash other events may stand at the same positions.
func TestWhatIsSettledIsForgottenWithTheIncarnation(t *testing.T) {
	t.Parallel()
	b := setup(t)
	reader := b.reader(b.Pool, 0)
	b.append(b.Pool, 4)
	b.next(reader, 2)
	b.exec("update rouse_incarnation set token = gen_random_uuid()")
	_, err := reader.Next(b.ctx, 2)
	require.ErrorIs(t, err, catchup.ErrIncarnation)
}

// Nor is a log taken for the same one that was emptied and began anew.
func TestWhatIsSettledIsForgottenWithTheLog(t *testing.T) {
	t.Parallel()
	b := setup(t)
	reader := b.reader(b.Pool, 0)
	b.append(b.Pool, 4)
	b.next(reader, 2)
	b.exec("truncate events restart identity")
	b.append(b.Pool, 3)
	_, err := reader.Next(b.ctx, 2)
	require.ErrorIs(t, err, catchup.ErrChanged)
}
