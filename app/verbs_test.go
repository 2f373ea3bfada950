package app

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
)

// served waits until a worker serves, and returns a function that asks it.
func served(t *testing.T, p *workertest.Program) (get func(path string) (int, string)) {
	t.Helper()
	base := p.Address(t)
	client := &http.Client{Timeout: time.Minute}
	t.Cleanup(client.CloseIdleConnections)
	return func(path string) (int, string) {
		req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodGet, base+path, nil)
		require.NoError(t, err)
		resp, err := client.Do(req)
		require.NoError(t, err)
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(body)
	}
}

// TestWorkerHasAllThatServesIt: the number of a static worker, probes and metrics of its handlers, and an order in which it stops.
func TestWorkerHasAllThatServesIt(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	must(t, "seed", db, "migrate")
	var workers []*workertest.Program
	for _, id := range []string{"web-0", "web-1"} {
		workers = append(workers, start(t, "seed", on(db, "WORKER_ID="+id, "TOTAL_WORKERS=2"), "projection-worker", "--http", "127.0.0.1:0"))
	}
	becomes(t, db, 32, "select count(*)::int from projection_checkpoints where projection_name = 'orders' and owner is not null")
	must(t, "seed", db, "append", "--count", "60", "--aggregates", "30")
	becomes(t, db, int64(60), "select coalesce(sum(events), 0)::bigint from orders")
	assert.Equal(t, 1, value[int](t, db.Pool, "select count(distinct projection_name) from projection_checkpoints"), "what Default names runs, and nothing else")
	get := served(t, workers[1])
	testdb.Eventually(t, processTimeout, "the worker to be ready", func() (bool, error) {
		code, _ := get("/readyz")
		return code == 200, nil
	})
	_, metrics := get("/metrics")
	assert.Contains(t, metrics, `projection="orders"`)
	for _, w := range workers {
		w.Signal(t, syscall.SIGTERM)
		require.Zero(t, w.Wait(t))
	}
	assert.Contains(t, workers[0].Stderr.String(), "worker stopped")
	fails(t, "seed", on(db, "WORKER_ID=web-2", "TOTAL_WORKERS=2"), []string{"projection-worker"}, 64, "not the id of a static worker")
}

// TestWorkerThatIsStoppedBeforeItBeginsHasStoppedInOrder, and one that was to handle what is there has not.
func TestWorkerThatIsStoppedBeforeItBeginsHasStoppedInOrder(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	for code, args := range map[int][]string{0: {"worker"}, 1: {"worker", "--once"}} {
		w := start(t, "slow", on(db), args...)
		testdb.Eventually(t, processTimeout, "With to be called", func() (bool, error) { return w.Stdout.String() != "", nil })
		w.Signal(t, syscall.SIGTERM)
		assert.Equal(t, code, w.Wait(t), "%v", args)
	}
}

// TestEveryVerbKnowsTheProgram: what they print tells people to type what there is to type.
func TestEveryVerbKnowsTheProgram(t *testing.T) {
	t.Parallel()
	db := newShop(t)
	must(t, "shop", db, "append", "--count", "5")
	must(t, "shop", db, "projection", "create", "mails", "--from", "now")
	must(t, "shop", db, "worker", "--once")
	assert.Contains(t, must(t, "shop", db, "status"), "orders")
	assert.Contains(t, must(t, "shop", db, "projection", "list"), "mails")
	assert.Contains(t, must(t, "shop", db, "wait", "orders"), "orders has handled all events")
	assert.Contains(t, must(t, "shop", db, "projection", "pause", "orders"), "(shop projection resume orders lets it go on)")
	assert.Contains(t, must(t, "shop", db, "parked", "list"), "no event is parked")
	assert.Regexp(t, `^shop \S+ \(commit `, must(t, "shop", db, "version"))
	must(t, "shop", db, "append", "--count", "1")
	fails(t, "shop", on(db), []string{"wait", "orders", "--timeout", "1m"}, 5, "orders", "paused")
	fails(t, "shop", on(db), []string{"projection", "pause", "nobody"}, 64, "shop projection list shows")
	doctor := start(t, "shop", on(testdb.Empty(t)), "doctor")
	require.Equal(t, 7, doctor.Wait(t))
	assert.Contains(t, doctor.Stdout.String(), "shop migrate")
	assert.NotContains(t, doctor.Stdout.String(), "rouse migrate")
}

// TestPagesAndLogsNameTheProgram: what they tell people to type is there to type. What is in the database stays as it is.
func TestPagesAndLogsNameTheProgram(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	must(t, "seed", db, "migrate")
	_, err := db.Pool.Exec(t.Context(), "alter table orders add constraint none check (events < 0)")
	require.NoError(t, err)
	must(t, "seed", db, "append", "--count", "1")
	w := start(t, "seed", on(db, "ROUSE_HTTP_TOKEN=of-a-test"), "projection-worker", "--retries", "0", "--http", "127.0.0.1:0")
	get := served(t, w)
	testdb.Eventually(t, processTimeout, "an event to be parked", func() (bool, error) { return strings.Contains(w.Stderr.String(), "is parked"), nil })
	assert.Contains(t, w.Stderr.String(), "(see "+own+" parked)")
	_, page := get("/app.js")
	assert.Contains(t, page, own+" projection drop")
	assert.NotRegexp(t, `\brouse [a-z]+`, page)
	code, _ := get("/metrics")
	assert.Equal(t, 401, code)
	w.Signal(t, syscall.SIGTERM)
	require.Zero(t, w.Wait(t))

	open := start(t, "seed", on(db), "dashboard", "--http", "127.0.0.1:0")
	_, page = served(t, open)("/")
	assert.Contains(t, page, "<code>"+own+" projection-worker</code>")
	assert.NotRegexp(t, `\brouse [a-z]+`, page)
}

// TestHelpNamesNoOtherProgram: no verb of rouse is in the help of a program that is called otherwise, nor what only rouse can do.
func TestHelpNamesNoOtherProgram(t *testing.T) {
	t.Parallel()
	of := map[string][]string{"shop": {"worker"}, "seed": {"projection-worker"}, "acme": {"events", "worker"}}
	command := regexp.MustCompile(`\brouse\s+[a-z]+`)
	for program, worker := range of {
		before := worker[:len(worker)-1]
		for _, args := range [][]string{nil, {"projection"}, {"projection", "reset"}, {"projection", "pause"}, {"parked", "retry"}, {"dashboard"}, {"doctor"}, {"migrate"}} {
			p := start(t, program, nil, append(append(append([]string{}, before...), args...), "--help")...)
			require.Zero(t, p.Wait(t), &p.Stderr)
			assert.Empty(t, command.FindAllString(p.Stdout.String(), -1), "%s %v", program, args)
			assert.NotContains(t, p.Stdout.String(), "bench")
		}
		p := start(t, program, nil, append(append([]string{}, worker...), "--help")...)
		require.Zero(t, p.Wait(t))
		assert.Contains(t, p.Stdout.String(), "orders")
		assert.NotContains(t, p.Stdout.String(), "scalable_projection")
	}
	dashboard := start(t, "seed", nil, "dashboard", "--help")
	require.Zero(t, dashboard.Wait(t))
	assert.Contains(t, strings.Join(strings.Fields(dashboard.Stdout.String()), " "), own+" projection-worker --http serves the same page")
}

func TestCommandsAreVerbsOfTheProgram(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	must(t, "seed", db, "migrate")
	assert.Equal(t, "hello you, there are 0 orders\nhello you, there are 0 orders\n", must(t, "seed", db, "greet", "you", "--times", "2"))
	assert.Equal(t, "0\n", must(t, "seed", db, "count", "orders"))
	fails(t, "seed", on(db), []string{"count"}, 1, own+": nothing to count")
	fails(t, "seed", on(db), []string{"greet"}, 64, "arg(s)", own+" greet --help")
	fails(t, "seed", on(db), []string{"greet", "--loud"}, 64, "--loud", own+" greet --help")
}

func TestProgramThatCannotBeIsToldSo(t *testing.T) {
	t.Parallel()
	fails(t, "twice", nil, []string{"status"}, 64, "mails")
	fails(t, "clash", nil, []string{"status"}, 64, "the verb status")
	fails(t, "alias", nil, []string{"status"}, 64, "the verb worker")
	fails(t, "folder", nil, []string{"version"}, 64, "two files are named 1.sql")
	fails(t, "down", nil, []string{"migrate"}, 64, "1.down.sql undoes a migration")
	fails(t, "goose", nil, []string{"migrate"}, 64, "1.sql undoes a migration")
	fails(t, "wide", on(newShop(t)), []string{"worker"}, 64, "BatchSize -1")
	fails(t, "nothing", nil, []string{"version"}, 64, "the verb greet", "does nothing")
	assert.Panics(t, func() { Cobra(Config{WorkerVerb: "two words"}) })
}

func TestCompletionOffersProjections(t *testing.T) {
	t.Parallel()
	db := newShop(t)
	must(t, "shop", db, "worker", "--once", "--projection", "mails")
	offered := func(args ...string) string { return must(t, "shop", db, append([]string{"__complete"}, args...)...) }
	assert.Regexp(t, `(?m)^orders\ntotals$`, offered("worker", "--projection", ""), "what a worker can run")
	both := regexp.MustCompile(`(?m)^mails\norders\ntotals$`)
	for _, args := range [][]string{{"projection", "pause", ""}, {"wait", ""}, {"parked", "list", "--projection", ""}} {
		testdb.Eventually(t, processTimeout, strings.Join(args, " ")+": what is in the database, and in the program", func() (bool, error) {
			return both.MatchString(offered(args...)), nil // a shell waits for the database no longer than two seconds
		})
	}
	assert.NotContains(t, must(t, "seed", db, "__complete", "greet", ""), "orders", "the NAME of a verb of its own is none of a projection")
	p := start(t, "shop", on(&testdb.DB{URL: "postgres://127.0.0.1:1/x"}), "__complete", "wait", "")
	require.Zero(t, p.Wait(t))
	assert.Regexp(t, `(?m)^orders\ntotals$`, p.Stdout.String(), "where no database answers")
}

// TestCommandLineOfOthers: all verbs are below a command of theirs, with their errors and exit codes.
func TestCommandLineOfOthers(t *testing.T) {
	t.Parallel()
	db := newShop(t)
	must(t, "acme", db, "serve")
	must(t, "acme", db, "events", "append", "--count", "3")
	must(t, "acme", db, "events", "projection", "create", "mails", "--from", "beginning")
	must(t, "acme", db, "events", "worker", "--once")
	assert.Equal(t, 3, value[int](t, db.Pool, "select sum(events)::int from totals"))
	assert.Contains(t, must(t, "acme", db, "events", "projection", "pause", "orders"), "(acme events projection resume orders lets it go on)")
	must(t, "acme", db, "events", "projection", "resume", "orders")

	fails(t, "acme", on(testdb.Empty(t)), []string{"events", "worker"}, 4, "acme: ", "acme events migrate")
	fails(t, "acme", on(db), []string{"events", "worker", "--loud"}, 64, "--loud", "acme events worker --help")
	fails(t, "acme", on(db), []string{"events", "wait"}, 64, "arg(s)")
	fails(t, "acme", on(db), []string{"events", "projection", "reset", "orders"}, 64, `"to"`)
	fails(t, "acme", on(db, "ROUSE_LOG_LEVEL=loud"), []string{"events", "status"}, 64, "loud")
	fails(t, "acme", []string{"DATABASE_URL=postgres://u:s3cret@127.0.0.1:1/x"}, []string{"events", "status"}, 3, "127.0.0.1:1")

	w := start(t, "acme", on(db), "events", "worker")
	becomes(t, db, 3, "select count(distinct projection_name)::int from projection_checkpoints where owner is not null")
	assert.NotZero(t, value[int](t, db.Pool, "select count(*) from pg_stat_activity where datname = current_database() and application_name like 'acme events worker %'"))
	w.Signal(t, syscall.SIGTERM)
	require.Zero(t, w.Wait(t))
	assert.Contains(t, w.Stderr.String(), "worker stopped")
}
