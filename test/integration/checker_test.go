package integration_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
)

// stressProjection is the name of the projection that the stress test runs: the one that the operators' query asks for.
const stressProjection = "scalable_projection"

// stressVerdict is what stress_verdict.sql finds; its head comment says what each count means.
type stressVerdict struct {
	Committed, Inverted, Seen          int64
	Lost, Doubled, Phantom, OutOfOrder int64
	Beyond, Behind                     int64
	Miscounted                         int64 `db:"-"` // aggregates whose tally is wrong
}

// stressDB is a pool or a transaction.
type stressDB interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// stressJudge finds out what a projection has made of the log.
func stressJudge(t testing.TB, db stressDB, projection string) stressVerdict {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	rows, err := db.Query(ctx, stressSQL("verdict"), projection)
	require.NoError(t, err)
	v, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[stressVerdict])
	require.NoError(t, err)
	require.NoError(t, db.QueryRow(ctx, stressSQL("miscounted")).Scan(&v.Miscounted))
	return v
}

// lags watches the lag of all partitions by the query that operators use.
type lags struct {
	conn             *pgx.Conn
	samples          int
	smallest, widest int64
}

func newLags(t testing.TB, url string) *lags { return &lags{conn: stressConn(t, url)} }

// run samples until ctx is cancelled.
func (l *lags) run(ctx context.Context) error {
	for ctx.Err() == nil {
		if _, err := l.sample(); err != nil {
			return err
		}
		pauseFor(ctx, 25*time.Millisecond)
	}
	return nil
}

// sample returns the lag of each partition that there is.
func (l *lags) sample() ([]int64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	rows, err := l.conn.Query(ctx, stressSQL("lag"))
	if err != nil {
		return nil, err
	}
	var name string
	var position int64
	var lag *int64 // null while there is no event
	var found []int64
	_, err = pgx.ForEachRow(rows, []any{&name, &position, &lag}, func() error {
		if name != stressProjection {
			return fmt.Errorf("the query returned %s", name)
		}
		if lag != nil {
			found = append(found, *lag)
			l.smallest, l.widest = min(l.smallest, *lag), max(l.widest, *lag)
		}
		return nil
	})
	l.samples++
	return found, err
}

// errLag means that the lag did not come down in time.
var errLag = errors.New("the lag did not come down to 0")

// down waits until the lag is 0 in every partition and returns how long after since that was.
func (l *lags) down(since time.Time, within time.Duration) (time.Duration, error) {
	for {
		found, err := l.sample()
		took := time.Since(since)
		if err != nil {
			return took, err
		}
		most := int64(-1) // no partitions: not down
		for _, lag := range found {
			most = max(most, lag)
		}
		if most == 0 {
			return took, nil
		}
		if took > within {
			return took, fmt.Errorf("%w within %v: %v", errLag, within, found)
		}
		pauseFor(context.Background(), 5*time.Millisecond)
	}
}

// TestStressChecker makes each fault by hand, one at a time, and wants the verdict to name it and nothing else: a stress test
// is worth what its checker is worth.
func TestStressChecker(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	stressExec(t, db.Pool, stressSQL("tables"))
	stressExec(t, db.Pool, `
		insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 'order', 'order-' || a, v, 'Happened', '{}' from generate_series(1, 3) as v, generate_series(1, 4) as a order by v, a;
		insert into projections (projection_name, partitions) values ('scalable_projection', 2);
		insert into projection_checkpoints (projection_name, partition, last_global_position)
		select 'scalable_projection', p, (select max(global_position) from events) from generate_series(0, 1) as p`)
	const all = `insert into seen (projection, global_position, aggregate_type, aggregate_id, version, instance)
		select 'scalable_projection', global_position, aggregate_type, aggregate_id, aggregate_version, 'w' from events`
	stressExec(t, db.Pool, all+" order by global_position")
	stressExec(t, db.Pool, `insert into tallies (aggregate_type, aggregate_id, events, last_version, out_of_order)
		select aggregate_type, aggregate_id, count(*), max(aggregate_version), 0 from events group by 1, 2`)

	sound := stressVerdict{Committed: 12, Seen: 12}
	for _, tc := range []struct {
		name  string
		fault string
		want  func(v *stressVerdict)
	}{
		{"nothing wrong", "select 1", func(*stressVerdict) {}},
		{"lost", "delete from seen where global_position = 7", func(v *stressVerdict) { v.Seen, v.Lost = 11, 1 }},
		{"the last of an aggregate lost", "delete from seen where global_position = 12", func(v *stressVerdict) { v.Seen, v.Lost = 11, 1 }},
		{"doubled", all + " where global_position = 9", func(v *stressVerdict) { v.Seen, v.Doubled, v.OutOfOrder = 13, 1, 1 }},
		{"phantom", `insert into seen (projection, global_position, aggregate_type, aggregate_id, version, instance)
			values ('scalable_projection', 13, 'order', 'order-1', 4, 'w')`, func(v *stressVerdict) { v.Seen, v.Phantom = 13, 1 }},
		{"another event at the position", "update seen set aggregate_id = 'order-9' where global_position = 9", func(v *stressVerdict) { v.Phantom = 1 }},
		{"out of order", `delete from seen where global_position = 1;` + all + " where global_position = 1",
			func(v *stressVerdict) { v.OutOfOrder = 1 }},
		{"checkpoint too far", "update projection_checkpoints set last_global_position = 13 where partition = 0", func(v *stressVerdict) { v.Beyond = 1 }},
		{"checkpoint left behind", "update projection_checkpoints set last_global_position = 11 where partition = 1", func(v *stressVerdict) { v.Behind = 1 }},
		{"miscounted", "update tallies set events = 2 where aggregate_id = 'order-1'", func(v *stressVerdict) { v.Miscounted = 1 }},
		{"tally missing", "delete from tallies where aggregate_id = 'order-2'", func(v *stressVerdict) { v.Miscounted = 1 }},
		{"counted out of order", "update tallies set out_of_order = 1 where aggregate_id = 'order-3'", func(v *stressVerdict) { v.Miscounted = 1 }},
		{"another projection's rows", "update seen set projection = 'other' where global_position = 2", func(v *stressVerdict) { v.Seen, v.Lost = 11, 1 }},
		{"versions out of the log's order", "update events set aggregate_version = 4 where global_position = 5; update seen set version = 4 where global_position = 5; update tallies set last_version = 4 where aggregate_id = 'order-1'",
			func(v *stressVerdict) { v.Inverted, v.OutOfOrder = 2, 1 }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tx, err := db.Pool.Begin(t.Context())
			require.NoError(t, err)
			defer func() { _ = tx.Rollback(context.Background()) }()
			stressExec(t, tx, tc.fault)
			want := sound
			tc.want(&want)
			assert.Equal(t, want, stressJudge(t, tx, stressProjection))
		})
	}
}

// stressExec runs statements without parameters.
func stressExec(t testing.TB, db stressDB, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := db.Exec(ctx, sql)
	require.NoError(t, err)
}
