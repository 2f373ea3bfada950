package retention_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
	"github.com/rouse-es/rouse/partition"
	"github.com/rouse-es/rouse/retention"
)

func TestMain(m *testing.M) { testdb.Main(m) }

var patience = workertest.Patience

type bundle struct {
	*testdb.DB
	t   *testing.T
	ctx context.Context
	dir string
}

func setup(t *testing.T) *bundle {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	t.Cleanup(cancel)
	return &bundle{DB: testdb.New(t), t: t, ctx: ctx, dir: t.TempDir()}
}

func (b *bundle) exec(sql string, args ...any) {
	b.t.Helper()
	_, err := b.Pool.Exec(b.ctx, sql, args...)
	require.NoError(b.t, err)
}

func (b *bundle) int(sql string, args ...any) (n int64) {
	b.t.Helper()
	require.NoError(b.t, b.Pool.QueryRow(b.ctx, sql, args...).Scan(&n))
	return n
}

// append appends versions from to to of each of some streams, one stream after the other for each version. They are a day old.
func (b *bundle) append(streams, from, to int) {
	b.t.Helper()
	b.exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload, metadata, created_at)
		select 'order', 'o' || s, v, 'Placed', format('{"n": %s,  "of":"o%s"}', v, s)::json, '{"by":"test"}', clock_timestamp() - interval '1 day'
		from generate_series($2::int, $3::int) v, generate_series(1, $1::int) s order by v, s`, streams, from, to)
}

// at makes a projection whose partitions stand at a position.
func (b *bundle) at(name string, position int64) {
	b.t.Helper()
	_, err := partition.Ensure(b.ctx, b.Pool, name, 2)
	require.NoError(b.t, err)
	b.exec("update projection_checkpoints set last_global_position = $2 where projection_name = $1", name, position)
}

func (b *bundle) prune(opts retention.PruneOptions) retention.Pruned {
	b.t.Helper()
	if opts.Dir == "" && opts.Out == nil {
		opts.Dir = b.dir
	}
	pruned, err := retention.Prune(b.ctx, b.Pool, opts)
	require.NoError(b.t, err)
	return pruned
}

// rows is every event as one text, by position.
func (b *bundle) rows() map[int64]string {
	b.t.Helper()
	rows, err := b.Pool.Query(b.ctx, `select global_position, format('%s|%s|%s|%s|%s|%s|%s|%s|%s|%s', event_id, aggregate_type, aggregate_id, aggregate_version,
		event_type, event_version, payload, metadata, slot, created_at) from events`)
	require.NoError(b.t, err)
	out := map[int64]string{}
	var position int64
	var text string
	_, err = pgx.ForEachRow(rows, []any{&position, &text}, func() error { out[position] = text; return nil })
	require.NoError(b.t, err)
	return out
}

const seedLag = `select (select max(global_position) from events) - last_global_position as lag from projection_checkpoints where projection_name = $1`

// soon is how long ago makes an event old enough in these tests.
const soon = time.Hour
