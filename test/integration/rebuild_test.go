package integration_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/signal"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
	"github.com/rouse-es/rouse/projection"
	"github.com/rouse-es/rouse/test/checkout"
	"github.com/rouse-es/rouse/test/process"
)

// The environment of a worker of totals: its version, and up to which position no event may be handled for the live read model.
const (
	totalsVersionEnv = "ROUSE_TEST_TOTALS_VERSION"
	totalsKnownEnv   = "ROUSE_TEST_TOTALS_KNOWN"
)

// totalsKey is the advisory lock that a build waits for in its middle, for as long as a test holds it.
const totalsKey = 4712

func init() { roles["totals worker"] = totalsWorker }

// totals counts the events of each aggregate. Version 2 has a column more. It reports a line for each event up to known that it is
// given for the live read model, which would be done outside again.
type totals struct {
	version int
	known   int64
}

func (totals) Name() string     { return "totals" }
func (totals) Tables() []string { return []string{"totals"} }
func (p totals) Version() int   { return p.version }

func (p totals) Create(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, p.table())
	return err
}

func (p totals) table() string {
	if p.version == 2 {
		return "create table totals (id text primary key, n bigint not null, tens bigint not null)"
	}
	return "create table totals (id text primary key, n bigint not null)"
}

func (p totals) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	var batch pgx.Batch
	if err := p.ApplyBatch(ctx, &batch, []eventstore.Event{ev}); err != nil {
		return err
	}
	return tx.SendBatch(ctx, &batch).Close()
}

func (p totals) ApplyBatch(ctx context.Context, batch *pgx.Batch, events []eventstore.Event) error {
	var ids []string
	for _, ev := range events {
		if ids = append(ids, ev.AggregateID); !rouse.Replaying(ctx) && ev.GlobalPosition <= p.known {
			fmt.Println("again " + strconv.FormatInt(ev.GlobalPosition, 10))
		}
	}
	if rouse.Replaying(ctx) && events[len(events)-1].GlobalPosition > p.known/2 {
		batch.Queue("select pg_advisory_xact_lock_shared($1)", totalsKey)
	}
	sql := `insert into totals as t (id, n) select id, count(*) from unnest($1::text[]) id group by id order by id
		on conflict (id) do update set n = t.n + excluded.n`
	if p.version == 2 {
		sql = `insert into totals as t (id, n, tens) select id, count(*), 10 * count(*) from unnest($1::text[]) id group by id order by id
			on conflict (id) do update set n = t.n + excluded.n, tens = t.tens + excluded.tens`
	}
	batch.Queue(sql, ids)
	return nil
}

// totalsWorker is the main function of a worker process of totals.
func totalsWorker() int {
	process.OutliveNobody()
	version, _ := strconv.Atoi(os.Getenv(totalsVersionEnv))
	known, _ := strconv.ParseInt(os.Getenv(totalsKnownEnv), 10, 64)
	ctx, stop := signal.Context(context.Background())
	defer stop()
	pool, err := pgxpool.New(ctx, os.Getenv(urlEnv))
	if err == nil {
		defer pool.Close()
		var w *rouse.Worker
		if w, err = rouse.New(pool, rouse.Config{Projections: []rouse.Projection{totals{version: version, known: known}}, LeaseTTL: time.Second}); err == nil {
			err = process.Work(ctx, w)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// totalsRun is a database with events, of which the live read model has all, readers that look at it, and a load.
type totalsRun struct {
	*stage
	program  string       // rouse
	known    int64        // the last position that the live read model had when the run began
	again    atomic.Int64 // events that were handled for the live one once more
	appended atomic.Int64
	reads    atomic.Int64
	mu       sync.Mutex // protects wrong
	wrong    []string
}

// newTotalsRun makes events, and has a worker handle them.
func newTotalsRun(t *testing.T, events int) *totalsRun {
	s := newStage(t, testdb.New(t))
	r := &totalsRun{stage: s, program: checkout.Rouse(t)}
	s.exec(totals{version: 1}.table())
	s.exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 'thing', 'a' || n % 1000, n / 1000 + 1, 'happened', '{}' from generate_series(0, $1::int - 1) n order by n`, events)
	w, err := rouse.New(s.Pool, rouse.Config{Projections: []rouse.Projection{totals{version: 1}}})
	require.NoError(t, err)
	require.NoError(t, w.Drain(s.ctx))
	r.known = s.int("select max(global_position) from events")
	r.appended.Store(int64(events))
	return r
}

// worker starts a worker process.
func (r *totalsRun) worker(version int) *process.Process {
	r.t.Helper()
	cmd := process.Command(r.t, "totals worker", urlEnv+"="+r.URL, totalsVersionEnv+"="+strconv.Itoa(version), totalsKnownEnv+"="+strconv.FormatInt(r.known, 10))
	p, err := process.Start(r.t, cmd, fmt.Sprintf("worker of version %d", version), process.Options{Note: func(string) { r.again.Add(1) }})
	require.NoError(r.t, err)
	select {
	case <-p.Started:
	case <-time.After(process.Patience):
		r.t.Fatalf("a worker has not started: %s", p.Log)
	}
	return p
}

// load appends events at a rate, and looks with readers, until it is stopped.
func (r *totalsRun) load(perSecond, readers int) (stop func()) {
	ctx, cancel := context.WithCancel(r.ctx)
	var all sync.WaitGroup
	appenders := max(1, perSecond/50)
	for a := range appenders {
		conn := r.Conn(r.t)
		all.Go(func() { r.append(ctx, conn, a, time.Second*time.Duration(appenders)/time.Duration(perSecond)) })
	}
	for range readers {
		conn := r.Conn(r.t)
		all.Go(func() { r.read(ctx, conn) })
	}
	stop = sync.OnceFunc(func() { cancel(); all.Wait() })
	r.t.Cleanup(stop)
	return stop
}

// append appends an event each time, until ctx ends.
func (r *totalsRun) append(ctx context.Context, conn *pgx.Conn, appender int, each time.Duration) {
	tick := time.NewTicker(each)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if _, err := conn.Exec(r.ctx, appendSQL, fmt.Sprintf("b%d-%d", appender, n%100), 1); err != nil {
			r.t.Errorf("append: %v", err)
			return
		}
		r.appended.Add(1)
	}
}

// measured does something, and logs how many appends there were meanwhile.
func (r *totalsRun) measured(what string, do func()) {
	began, before := time.Now(), r.appended.Load()
	do()
	took := time.Since(began)
	r.t.Logf("%s: %s, %.0f appends/s", what, took.Round(10*time.Millisecond), float64(r.appended.Load()-before)/took.Seconds())
}

// read looks at the read model again and again: nothing that was there may be less or missing later.
func (r *totalsRun) read(ctx context.Context, conn *pgx.Conn) {
	seen := map[string]int64{}
	for ctx.Err() == nil {
		now := map[string]int64{}
		rows, err := conn.Query(ctx, "select id, n from totals")
		if err == nil {
			var id string
			var n int64
			_, err = pgx.ForEachRow(rows, []any{&id, &n}, func() error { now[id] = n; return nil })
		}
		if ctx.Err() != nil {
			return
		}
		var wrong []string
		if err != nil {
			wrong = append(wrong, err.Error())
		}
		for id, n := range seen {
			if now[id] < n {
				wrong = append(wrong, fmt.Sprintf("%s was %d and is %d", id, n, now[id]))
			}
		}
		if len(wrong) > 0 {
			r.mu.Lock()
			r.wrong = append(r.wrong, wrong...)
			r.mu.Unlock()
			return
		}
		seen = now
		r.reads.Add(1)
		select { // so that the readers leave something to the others
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// exact waits until everything that was appended is counted, and requires that no reader has seen anything wrong.
func (r *totalsRun) exact() {
	r.t.Helper()
	want := r.appended.Load()
	r.eventually(patience, "every event to be counted", "select sum(n) = $1 from totals", want)
	require.Zero(r.t, r.int(`select count(*) from (select aggregate_id as id, count(*) as n from events group by 1) e full join totals t using (id) where e.n is distinct from t.n`))
	require.Empty(r.t, r.wrong)
	require.Positive(r.t, r.reads.Load())
	require.Zero(r.t, r.again.Load(), "events were handled for the live read model again")
}

// rouse runs the program, which must end with 0, and returns what it has printed.
func (r *totalsRun) rouse(args ...string) string {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.ctx, 3*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, r.program, args...)
	cmd.Env = append(workertest.Environ(), "DATABASE_URL="+r.URL)
	out, err := cmd.CombinedOutput()
	require.NoError(r.t, err, "rouse %s: %s", strings.Join(args, " "), out)
	return string(out)
}

// held starts a rebuild, and waits until it is held up in its middle, which the returned function ends.
func (r *totalsRun) held() (release func()) {
	r.t.Helper()
	tx, err := r.Conn(r.t).Begin(r.ctx)
	require.NoError(r.t, err)
	_, err = tx.Exec(r.ctx, "select pg_advisory_xact_lock($1)", totalsKey)
	require.NoError(r.t, err)
	_, err = projection.StartRebuild(r.ctx, r.Pool, "totals", "")
	require.NoError(r.t, err)
	r.eventually(patience, "the rebuild to be in its middle", "select exists (select from pg_locks where locktype = 'advisory' and objid = $1 and not granted)", totalsKey)
	return func() { require.NoError(r.t, tx.Rollback(r.ctx)) }
}

// TestStressRebuildUnderLoad rebuilds a read model under appends and readers. One rebuild is cancelled in the middle; in the next, the workers
// are killed one after the other. With ROUSE_STRESS there are a million events.
func TestStressRebuildUnderLoad(t *testing.T) {
	events, perSecond := 20_000, 100
	if os.Getenv("ROUSE_STRESS") != "" {
		events, perSecond = 1_000_000, 500
	}
	r := newTotalsRun(t, events)
	first, second := r.worker(1), r.worker(1)
	stop := r.load(perSecond, 5)
	r.measured("nothing", func() {
		r.eventually(patience, "some appends", "select count(*) > $1 from events where global_position > $2", 4*perSecond, r.known)
	})

	release := r.held()
	r.rouse("projection", "rebuild", "totals", "--cancel")
	release()
	require.Zero(t, r.int("select count(*) from pg_namespace where nspname like 'rouse%'"))

	release = r.held()
	first.Kill()
	first = r.worker(1)
	second.Kill()
	release()
	t.Log(strings.TrimSpace(r.rouse("projection", "rebuild", "totals")))
	r.measured("a rebuild", func() { require.NoError(t, projection.Rebuild(r.ctx, r.Pool, "totals", "", nil)) })
	before := r.reads.Load()
	testdb.Eventually(t, patience, "the readers to look", func() (bool, error) { return r.reads.Load() > before+100, nil })
	stop()
	r.exact()
	first.End(syscall.SIGTERM)
	first.WantCleanExit()
}

// TestARollingDeployToAnotherVersionAndBack replaces the workers of version 1 by those of version 2 one by one, under load, promotes
// version 2, goes back, and forth again, and lets version 1 go.
func TestARollingDeployToAnotherVersionAndBack(t *testing.T) {
	t.Parallel()
	r := newTotalsRun(t, 3000)
	old := []*process.Process{r.worker(1), r.worker(1)}
	stop := r.load(100, 4)
	live := func(version int64) {
		t.Helper()
		require.Equal(t, version, r.int("select version from projections where projection_name = 'totals'"))
	}
	promote := func(version string) {
		t.Helper()
		testdb.Eventually(t, patience, "version "+version+" to be near", func() (bool, error) {
			builds, err := projection.Builds(r.ctx, r.Pool, "totals")
			return len(builds) == 1 && builds[0].Near && builds[0].Workers > 0, err
		})
		r.rouse("projection", "promote", "totals", "--version", version)
	}

	young := []*process.Process{r.worker(2)}
	live(1)
	old[0].End(syscall.SIGTERM)
	old[0].WantCleanExit()
	young = append(young, r.worker(2))
	promote("2")
	live(2)
	r.eventually(patience, "version 2 to go on", "select sum(n) > $1 and sum(tens) = 10 * sum(n) from totals", r.appended.Load())

	promote("1")
	live(1)
	r.eventually(patience, "version 1 to go on", "select sum(n) > $1 from totals", r.appended.Load())
	young[0].Kill()

	promote("2")
	live(2)
	old[1].End(syscall.SIGTERM)
	old[1].WantCleanExit()
	r.rouse("projection", "drop", "totals@1")
	r.eventually(patience, "version 2 to go on", "select sum(n) > $1 from totals", r.appended.Load())
	stop()
	r.exact()
	require.Zero(t, r.int("select count(*) from projections where shadow_of is not null"))
	young[1].End(syscall.SIGTERM)
	young[1].WantCleanExit()
}
