package rebuild_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
	"github.com/rouse-es/rouse/projection"
)

func TestMain(m *testing.M) { testdb.Main(m) }

var patience = workertest.Patience

// bundle is a database with a table counts, which tally fills.
type bundle struct {
	*testdb.DB
	ctx context.Context
	t   *testing.T
}

const countsSQL = "create table counts (type text constraint counts_key primary key, n bigint not null)"

func setup(t *testing.T) *bundle {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	t.Cleanup(cancel)
	b := &bundle{DB: testdb.New(t), ctx: ctx, t: t}
	b.exec(countsSQL)
	return b
}

func (b *bundle) exec(sql string, args ...any) {
	b.t.Helper()
	_, err := b.Pool.Exec(b.ctx, sql, args...)
	require.NoError(b.t, err)
}

func (b *bundle) int(sql string, args ...any) int64 {
	b.t.Helper()
	var n int64
	require.NoError(b.t, b.Pool.QueryRow(b.ctx, sql, args...).Scan(&n))
	return n
}

// append appends n events of a type, each to an aggregate of its own.
func (b *bundle) append(n int, eventType string) {
	b.t.Helper()
	b.exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 'thing', gen_random_uuid(), 1, $2, '{}' from generate_series(1, $1::int)`, n, eventType)
}

// counted is how many events of a type the live read model has.
func (b *bundle) counted(eventType string) int64 {
	b.t.Helper()
	return b.int("select coalesce(sum(n), 0) from counts where type = $1", eventType)
}

// countedTo waits until the live read model has n events of a type.
func (b *bundle) countedTo(eventType string, n int64) {
	b.t.Helper()
	testdb.Eventually(b.t, patience, "the events to be counted", func() (bool, error) { return b.counted(eventType) == n, nil })
}

// leftovers are the schemas, and the projections, that builds have left.
func (b *bundle) leftovers() int64 {
	b.t.Helper()
	return b.int("select (select count(*) from pg_namespace where nspname like 'rouse%') + (select count(*) from projections where shadow_of is not null)")
}

func (b *bundle) start(projections ...rouse.Projection) *workertest.Worker {
	b.t.Helper()
	return workertest.Start(b.t, b.Pool, rouse.Config{Projections: projections})
}

// beside waits until there is something of a name beside p for which ok holds, and returns it.
func (b *bundle) beside(name, what string, ok func(projection.Build) bool) (found projection.Build) {
	b.t.Helper()
	testdb.Eventually(b.t, patience, name+" to be "+what, func() (bool, error) {
		builds, err := projection.Builds(b.ctx, b.Pool, "p")
		for _, one := range builds {
			if one.Name == name && ok(one) {
				found = one
				return true, err
			}
		}
		return false, err
	})
	return found
}

// tally counts the events of each type in a table counts. Each counts times times, by which versions differ.
type tally struct {
	version, times int
	hook           func(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error
}

func (tally) Name() string     { return "p" }
func (tally) Tables() []string { return []string{"counts"} }
func (p tally) Version() int   { return max(p.version, 1) }

func (p tally) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	if p.hook != nil {
		if err := p.hook(ctx, tx, ev); err != nil {
			return err
		}
	}
	_, err := tx.Exec(ctx, `insert into counts as c (type, n) values ($1, $2)
		on conflict on constraint counts_key do update set n = c.n + excluded.n`, ev.Type, max(p.times, 1))
	return err
}

// pool opens another pool, as another process has it.
func (b *bundle) pool() *pgxpool.Pool {
	b.t.Helper()
	pool, err := pgxpool.New(b.ctx, b.URL)
	require.NoError(b.t, err)
	b.t.Cleanup(pool.Close)
	return pool
}

// within returns a context for what should not take long.
func (b *bundle) within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(b.ctx, d)
	b.t.Cleanup(cancel)
	return ctx
}
