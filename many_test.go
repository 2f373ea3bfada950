package rouse_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/testdb"
)

// Many projections in one process start with few questions to the database, and all of them get on through a small pool.
func TestMany_ProjectionsStartWithFewRoundTripsAndGetOn(t *testing.T) {
	t.Parallel()
	const many = 60
	b := setup(t)
	projections := make([]rouse.Projection, many)
	for i := range projections {
		projections[i] = projection{name: fmt.Sprintf("p%02d", i)}
	}
	for _, start := range []string{"the first start", "another one"} {
		var trips atomic.Int64 // without those in which connections get to know their statements
		pool := b.poolWith(func(cfg *pgxpool.Config) {
			cfg.MaxConns, cfg.ConnConfig.Tracer = 4, testdb.Sent(func(...string) { trips.Add(1) })
		})
		w := b.start(pool, rouse.Config{Projections: projections}).WaitStarted()
		require.Less(t, trips.Load(), int64(4*many), "round trips of %s: a claim is each projection's own, and little else", start)
		before := b.int("select count(*) from done")
		b.append("e")
		require.NoError(t, w.Drain(b.ctx))
		require.EqualValues(t, many, b.int("select count(*) from done")-before, "each projection has handled the event")
		w.MustStop()
	}
}

// What one projection is stopped by, or waits for, is not that of the others that start with it.
func TestMany_OneThatCannotStartHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	b := setup(t)
	projections := make([]rouse.Projection, 8)
	for i := range projections {
		projections[i] = projection{name: fmt.Sprintf("p%d", i)}
	}
	at := b.appendTo("public", "e")
	require.NoError(t, b.drain(b.Pool, rouse.Config{Projections: projections}))
	b.exec("update projection_checkpoints set event_id = gen_random_uuid() where projection_name = 'p3' and event_position is not null")
	b.exec("delete from projection_checkpoints where projection_name = 'p5' and partition = (select (slot + 1) & 31 from events)") // has none of the events
	w := b.start(b.smallPool(2), rouse.Config{Projections: projections})
	next := b.appendTo("public", "e")
	for i := range projections {
		name := fmt.Sprintf("p%d", i)
		if i == 3 {
			continue
		}
		b.waitDone(name, 2)
		require.Equal(t, []int64{at, next}, b.done(name))
	}
	err := w.Stop()
	var stopped *rouse.StoppedError
	require.ErrorAs(t, err, &stopped)
	require.Contains(t, err.Error(), "p3")
	require.Equal(t, 1, strings.Count(err.Error(), "the log is another one"), "%v", err)
	require.Equal(t, []int64{at}, b.done("p3"))
}
