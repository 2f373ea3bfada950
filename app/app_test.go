package app

import (
	"net/url"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
)

// TestWorkerRunsEveryHandlerOfTheProgram: two projections, one of them in queued form, and an effect that needs the pool.
func TestWorkerRunsEveryHandlerOfTheProgram(t *testing.T) {
	t.Parallel()
	db := newShop(t)
	w := start(t, "shop", on(db, "WORKER_ID=shop-3"), "worker")
	becomes(t, db, 3, "select count(distinct projection_name)::int from projection_checkpoints where owner is not null")
	must(t, "shop", db, "append", "--count", "40", "--aggregates", "5")
	becomes(t, db, int64(40), "select coalesce(sum(events), 0)::bigint from orders")
	becomes(t, db, int64(40), "select coalesce(sum(events), 0)::bigint from totals")
	becomes(t, db, int64(40), "select count(*) from mails where label = 'shop-3'")
	assert.NotZero(t, value[int](t, db.Pool, "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'shop worker shop-3'"))
	w.Signal(t, syscall.SIGTERM)
	require.Zero(t, w.Wait(t))
	assert.Contains(t, w.Stderr.String(), "worker stopped")
	assert.Empty(t, w.Stdout.String())
}

func TestProjectionFlagChoosesWhatAWorkerRuns(t *testing.T) {
	t.Parallel()
	db := newShop(t)
	must(t, "shop", db, "worker", "--once") // an effect begins where the log is empty
	must(t, "shop", db, "append", "--count", "10")
	must(t, "shop", db, "worker", "--once", "--projection", "totals,mails")
	assert.Zero(t, value[int](t, db.Pool, "select count(*) from orders"))
	assert.Equal(t, 10, value[int](t, db.Pool, "select count(*) from mails"))
	assert.Equal(t, 10, value[int](t, db.Pool, "select sum(events)::int from totals"))

	must(t, "shop", db, "worker", "--once", "--projection", "orders", "--projection", "totals")
	assert.Equal(t, 10, value[int](t, db.Pool, "select sum(events)::int from orders"))
	fails(t, "shop", on(db), []string{"worker", "--once", "--projection", "orders,invoices"}, 64, "shop: ", "invoices", "orders, totals and mails")
}

func TestMessagesSayTheNameOfTheProgram(t *testing.T) {
	t.Parallel()
	empty := testdb.Empty(t)
	fails(t, "shop", on(empty), []string{"worker"}, 4, "shop: ", "shop migrate")
	fails(t, "shop", nil, []string{"carry"}, 64, "shop: ", "shop --help")
}

func TestRunGivesAPoolLogsAndExitCodes(t *testing.T) {
	t.Parallel()
	db := testdb.Empty(t)
	p := start(t, "run", on(db), "one", "two")
	require.Zero(t, p.Wait(t))
	assert.Equal(t, value[string](t, db.Pool, "select current_database()")+" 2\n", p.Stdout.String())
	assert.Contains(t, p.Stderr.String(), `"message":"asked"`)

	fails(t, "run", on(db), []string{"fail"}, 1, "this fails: as it should")
	fails(t, "run", []string{"DATABASE_URL=postgres://u:s3cret@%zz/x"}, nil, 3, "address of the database")
	refused, err := url.Parse(db.URL)
	require.NoError(t, err)
	refused.User = url.UserPassword("nobody_here", "s3cret")
	fails(t, "run", []string{"DATABASE_URL=" + refused.String()}, nil, 3, refused.Host)
	fails(t, "run", on(db, "ROUSE_LOG_LEVEL=loud"), nil, 64, "loud")

	waits := start(t, "run", on(db), "wait")
	testdb.Eventually(t, processTimeout, "the program to wait", func() (bool, error) { return waits.Stdout.String() != "", nil })
	waits.Signal(t, syscall.SIGTERM)
	require.Zero(t, waits.Wait(t), "who waited until it was told to stop has done its work")
}
