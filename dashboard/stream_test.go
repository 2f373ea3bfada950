package dashboard_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/dashboard"
	"github.com/rouse-es/rouse/internal/testdb"
)

func mustExec(t *testing.T, b *bundle, sql string, args ...any) {
	t.Helper()
	_, err := b.db.Pool.Exec(t.Context(), sql, args...)
	require.NoError(t, err, sql)
}

func value[T any](t *testing.T, b *bundle, sql string) (v T) {
	t.Helper()
	require.NoError(t, b.db.Pool.QueryRow(t.Context(), sql).Scan(&v), sql)
	return v
}

// lookCounter counts the looks at the newest events, of which each look has one.
type lookCounter struct{ n atomic.Int64 }

func (c *lookCounter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	if strings.HasPrefix(data.SQL, "-- The newest visible events") {
		c.n.Add(1)
	}
	return ctx
}

func (c *lookCounter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// TestOneLoopHoweverManyLook, and none when nobody does.
func TestOneLoopHoweverManyLook(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	cfg, err := pgxpool.ParseConfig(db.URL)
	require.NoError(t, err)
	var looks lookCounter
	cfg.ConnConfig.Tracer = &looks
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	b := &bundle{t: t, db: db, d: dashboard.New(dashboard.Config{Pool: pool})}
	b.server = httptest.NewServer(b.d)
	t.Cleanup(b.server.Close)
	t.Cleanup(b.d.Close)
	assert.False(t, b.d.Looking(), "nobody looks")

	first := b.watch()
	all := []*watching{first}
	for range 4 {
		all = append(all, b.watch())
	}
	// The first may have had one that was waiting for it, and one more may be under way. Where the machine keeps the first from
	// reading there are more, and there is another try; with a loop for each who looks there are five in each round.
	const rounds, most = 3, 5
	looked := int64(most + 1)
	for try := 0; try < 10 && looked > most; try++ {
		before := looks.n.Load()
		for range rounds {
			first.next()
		}
		looked = looks.n.Load() - before
	}
	assert.LessOrEqual(t, looked, int64(most))
	for _, w := range all {
		w.next()
		w.end()
	}
	testdb.Eventually(t, patience, "the loop to end", func() (bool, error) { return !b.d.Looking(), nil })
	ended := looks.n.Load()
	again := b.watch()
	again.next()
	assert.Greater(t, looks.n.Load(), ended, "who comes later sees what is then")
}

// TestAStreamOutlivesTheDeadlinesOfItsServer, and ends when the dashboard is closed.
func TestAStreamOutlivesTheDeadlinesOfItsServer(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	b := &bundle{t: t, db: db, d: dashboard.New(dashboard.Config{Pool: db.Pool})}
	b.server = httptest.NewUnstartedServer(b.d)
	b.server.Config.ReadTimeout, b.server.Config.WriteTimeout = 500*time.Millisecond, 500*time.Millisecond
	b.server.Start()
	t.Cleanup(b.server.Close)
	w := b.watch()
	for range 3 {
		w.next()
	}
	b.d.Close()
	for {
		if _, _, err := w.read(); err != nil {
			break
		}
	}
	assert.Equal(t, 503, b.status("GET", "/events", ""))
	b.d.Close() // once more does no harm
}

// TestASnapshotShowsWhatIs, and says what is wrong where it cannot.
func TestASnapshotShowsWhatIs(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	w := b.watch()
	s := w.next()
	assert.Empty(t, s.Error)
	assert.NotEmpty(t, s.Database)
	assert.Zero(t, s.Head)
	assert.NotNil(t, s.Projections)
	assert.NotNil(t, s.Events)

	mustExec(t, b, "insert into projections (projection_name, partitions) values ('p', 1)")
	mustExec(t, b, "insert into projection_checkpoints (projection_name, partition) values ('p', 0)")
	appendOne := func(version int) {
		mustExec(t, b, "insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values ('a', '1', $1, 'X', '\"s3cret\"')", version)
	}
	appendOne(1)
	until := func(what string, cond func(s snapshot) bool) snapshot {
		for {
			if s := w.next(); cond(s) {
				return s
			} else if t.Context().Err() != nil {
				t.Fatal("no snapshot shows " + what)
			}
		}
	}
	s = until("the lag", func(s snapshot) bool {
		return len(s.Projections) == 1 && s.Projections[0].Lag > 0 && len(s.Events) == 1
	})
	assert.Equal(t, -1, s.Projections[0].Partitions[0].O, "nobody owns it")
	assert.Nil(t, s.Projections[0].Latency)

	// A save is measured, in the same hands; a claim is not.
	mustExec(t, b, "update projection_checkpoints set last_global_position = (select max(global_position) from events), updated_at = clock_timestamp()")
	s = until("the latency", func(s snapshot) bool { return s.Projections[0].Latency != nil })
	assert.Positive(t, s.Projections[0].Latency.P50)
	assert.Zero(t, s.Projections[0].Lag)
	before := s.Projections[0].Latency.P99
	mustExec(t, b, "update projection_checkpoints set epoch = epoch + 1, updated_at = clock_timestamp() + interval '1 hour'")
	w.next()
	assert.Equal(t, before, w.next().Projections[0].Latency.P99)

	assert.NotEmpty(t, b.watch().Hello.History["p"], "who comes later gets the lag of the last minutes")
	mustExec(t, b, "alter table parked_events rename to elsewhere")
	s = until("what is wrong", func(s snapshot) bool { return s.Error != "" })
	assert.Contains(t, s.Error, "rouse migrate")
	mustExec(t, b, "alter table elsewhere rename to parked_events")
	until("that it is well", func(s snapshot) bool { return s.Error == "" })
}

// TestADatabaseThatIsAwayIsNotNamed: the page says so without an address, a role or a password.
func TestADatabaseThatIsAwayIsNotNamed(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	pool, err := pgxpool.New(t.Context(), "postgres://somebody:s3cret@127.0.0.1:1/shop")
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	b.d.Close()
	b.d = dashboard.New(dashboard.Config{Pool: pool})
	b.server.Config.Handler = b.d
	t.Cleanup(b.d.Close)
	s := b.watch().next()
	assert.Contains(t, s.Error, "does not answer")
	for _, never := range []string{"somebody", "s3cret", "127.0.0.1", "shop"} {
		assert.NotContains(t, s.Error, never)
	}
}
