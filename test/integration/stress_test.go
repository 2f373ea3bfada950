package integration_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
)

// lagWithin is how long after the last event the lag of every partition may take to come down to 0.
const lagWithin = 2 * time.Second

// stressPlan says how hard a run is.
type stressPlan struct {
	events      int64         // to be committed at least while workers are disturbed
	disturbed   int           // workers that have to be killed or stopped at least; 0: none is
	disturbance time.Duration // the longest pause between two of these
	burst, lull time.Duration // the appenders' load; no lull: one burst
	stumbles    bool          // handlers fail now and then
	noLock      bool          // the append trigger takes no lock
	program     string        // the binary of a user whose workers run; "": this test's
	aggregates  int
	timeout     time.Duration // of the whole run
}

// stressPlanFor is the short form, or with ROUSE_STRESS set the full one.
func stressPlanFor() stressPlan {
	if os.Getenv("ROUSE_STRESS") != "" {
		return stressPlan{events: 100_000, disturbed: 60, disturbance: 3 * time.Second, burst: 12 * time.Second, lull: 4 * time.Second,
			stumbles: true, aggregates: 2000, timeout: 30 * time.Minute}
	}
	return stressPlan{events: 3000, disturbed: 6, disturbance: 900 * time.Millisecond, burst: 3 * time.Second, lull: 2 * time.Second,
		stumbles: true, aggregates: 200, timeout: 3 * time.Minute}
}

// TestStress runs 32 appenders of all kinds against workers that are killed at random, and a naive reader beside them.
func TestStress(t *testing.T) {
	plan := stressPlanFor()
	s := newStress(t, plan)
	s.run()
	s.print()

	v := stressJudge(t, s.db.Pool, stressProjection)
	t.Logf("verdict: %+v", v)
	assert.GreaterOrEqual(t, v.Committed, plan.events)
	assert.Equal(t, stressVerdict{Committed: s.appenders.committed.Load(), Seen: s.appenders.committed.Load()}, v)

	naive := stressJudge(t, s.db.Pool, s.naive.name)
	t.Logf("naive:   %+v", naive)
	assert.Positive(t, naive.Lost, "a naive reader has to lose events here, or this run proves nothing")
	assert.Zero(t, naive.Doubled)

	assert.Zero(t, s.lags.smallest, "a lag was negative: a checkpoint stood above the last event")
	assert.Positive(t, s.lags.widest, "no lag was ever seen, so looking at it proves nothing")
	assert.Zero(t, s.fleet.reported(lineGap), "a version jumped")
	for _, mode := range []string{"quiet", "torrent"} {
		assert.Positive(t, s.fleet.reported(lineMode+mode), "no worker was ever in mode %s", mode)
	}
	s.wantAllWays()
}

// TestStressOfAUsersBinary is the same with workers of a binary that a user has built with package app, which is told no more than the files
// of deploy/ tell it: they are killed, stopped and started again, and handle every event once and in order.
func TestStressOfAUsersBinary(t *testing.T) {
	if os.Getenv("ROUSE_STRESS") == "" {
		t.Skip("make stress runs it: the fleet is that of the test above, and only the binary is another")
	}
	plan := stressPlanFor()
	plan.program, plan.stumbles = userApp(t), false
	s := newStress(t, plan)
	s.run()
	s.print()
	v := stressJudge(t, s.db.Pool, stressProjection)
	t.Logf("verdict: %+v", v)
	assert.GreaterOrEqual(t, v.Committed, plan.events)
	assert.Equal(t, stressVerdict{Committed: s.appenders.committed.Load(), Seen: s.appenders.committed.Load()}, v)
	assert.Positive(t, stressJudge(t, s.db.Pool, s.naive.name).Lost, "a naive reader has to lose events here, or this run proves nothing")
	assert.Positive(t, s.fleet.reported("killed"))
}

// TestStressWithoutLock takes away what the horizon rests on, the lock of the append trigger, and nothing else. The same run
// has to lose events then; if it does not, it would not notice a horizon that does not work.
func TestStressWithoutLock(t *testing.T) {
	s := newStress(t, stressPlan{events: 1500, noLock: true, aggregates: 200, timeout: 3 * time.Minute})
	s.run()
	s.print()
	v := stressJudge(t, s.db.Pool, stressProjection)
	t.Logf("verdict: %+v; jumps of versions that workers reported: %d", v, s.fleet.reported(lineGap))
	assert.Positive(t, v.Lost, "nothing is lost without the lock, so finding nothing lost with it proves nothing")
	assert.Zero(t, v.Doubled)
	assert.Zero(t, v.Inverted)
}

// stress is one run.
type stress struct {
	t         *testing.T
	plan      stressPlan
	db        *testdb.DB
	appenders *appenders
	fleet     *fleet
	naive     *naiveReader
	lags      *lags
	took      time.Duration // of the disturbed stretch
	settled   time.Duration // from the last event until the lag was 0
}

func newStress(t *testing.T, plan stressPlan) *stress {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if given := os.Getenv("ROUSE_STRESS_SEED"); given != "" {
		var err error
		seed, err = strconv.ParseUint(given, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("ROUSE_STRESS_SEED=%d", seed)
	db := testdb.New(t)
	stressExec(t, db.Pool, stressSQL("tables"))
	if plan.noLock {
		stressExec(t, db.Pool, stressSQL("no_lock"))
	}
	if plan.program != "" {
		migrate := exec.CommandContext(t.Context(), plan.program, "migrate")
		migrate.Env = append(workertest.Environ(), "DATABASE_URL="+db.URL)
		out, err := migrate.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	return &stress{
		t: t, plan: plan, db: db,
		appenders: newAppenders(t, db.URL, db.Name, 32, plan.aggregates, seed),
		naive:     newNaiveReader(t, db.URL),
		lags:      newLags(t, db.URL),
		fleet:     newFleet(t, db.URL, plan.program, plan.stumbles, seed),
	}
}

// run appends while workers die, lets them catch up, appends a little more without disturbance to see how fast the lag comes
// down, and stops everything.
func (s *stress) run() {
	ctx, cancel := context.WithTimeout(s.t.Context(), s.plan.timeout)
	defer cancel()
	endForeign := s.openForeign(ctx)

	s.stretch(ctx)
	s.fleet.awaitStart(s.fleet.seats...)
	if s.plan.noLock {
		s.catchUpWithoutLock()
	} else {
		_, err := s.lags.down(time.Now(), s.plan.timeout) // how far the disturbance has thrown them back is not bounded
		require.NoError(s.t, err, "the workers did not catch up")
		s.lastStretch(ctx)
	}

	endForeign()
	s.fleet.stopAll()
	var owned int
	require.NoError(s.t, s.db.Pool.QueryRow(ctx, "select count(owner) from projection_checkpoints").Scan(&owned))
	assert.Zero(s.t, owned, "workers that stopped cleanly still own partitions")
	ended, end := context.WithCancel(ctx)
	end()
	require.NoError(s.t, s.naive.run(ended)) // to the end
}

// catchUpWithoutLock brings all checkpoints to the end. A checkpoint stays where it is when the very last event was skipped,
// and one more event, which comes when nothing else is open, moves it on; but that one may be skipped as well.
func (s *stress) catchUpWithoutLock() {
	s.t.Helper()
	var err error
	for range 20 {
		stressExec(s.t, s.db.Pool, stressSQL("last"))
		if _, err = s.lags.down(time.Now(), s.plan.timeout/20); err == nil {
			return
		}
	}
	require.NoError(s.t, err, "the workers did not catch up")
}

// lastStretch appends some more and wants the lag to come down in time.
func (s *stress) lastStretch(ctx context.Context) {
	var err error
	for range 20 { // a machine that is busy may need another try
		before := s.appenders.committed.Load()
		require.NoError(s.t, s.appenders.run(ctx, func() bool {
			return ctx.Err() != nil || s.appenders.committed.Load() >= before+300
		}))
		if s.settled, err = s.lags.down(time.Now(), lagWithin); err == nil {
			return
		}
		_, late := s.lags.down(time.Now(), s.plan.timeout)
		require.NoError(s.t, late, "the workers did not catch up")
	}
	assert.NoError(s.t, err)
}

// stretch appends until there is enough of everything, beside a naive reader and a look at the lag, and with workers that die.
func (s *stress) stretch(ctx context.Context) {
	began := time.Now()
	beside, stop := context.WithCancel(ctx)
	var others sync.WaitGroup
	var errs [3]error
	others.Go(func() { errs[0] = s.naive.run(beside) })
	others.Go(func() { errs[1] = s.lags.run(beside) })
	if s.plan.disturbed > 0 {
		others.Go(func() { errs[2] = s.fleet.disturb(beside, s.plan.disturbance) })
	}
	paced, stopPace := context.WithCancel(ctx)
	var pace sync.WaitGroup
	pace.Go(func() { s.appenders.pace.alternate(paced, s.plan.burst, s.plan.lull) })

	err := s.appenders.run(ctx, func() bool {
		return ctx.Err() != nil || s.appenders.committed.Load() >= s.plan.events &&
			s.fleet.reported("killed")+s.fleet.reported("stopped") >= s.plan.disturbed
	})
	s.took = time.Since(began)
	stopPace()
	pace.Wait()
	stop()
	others.Wait()
	require.NoError(s.t, errors.Join(append(errs[:], err)...))
}

// openForeign opens two transactions that write and stay open, one in this database to another table, one in another
// database. Both hold back what looks at transaction ids. The function that it returns wants them to be open still.
func (s *stress) openForeign(ctx context.Context) (end func()) {
	elsewhere := testdb.Empty(s.t)
	stressExec(s.t, elsewhere.Pool, "create table foreign_work (n bigint)")
	var open []pgx.Tx
	for _, url := range []string{s.db.URL, elsewhere.URL} {
		tx, err := stressConn(s.t, url).Begin(ctx)
		require.NoError(s.t, err)
		_, err = tx.Exec(ctx, "insert into foreign_work values (1)")
		require.NoError(s.t, err)
		open = append(open, tx)
	}
	return func() {
		for _, tx := range open {
			_, err := tx.Exec(ctx, "insert into foreign_work values (2)")
			require.NoError(s.t, err)
			require.NoError(s.t, tx.Commit(ctx))
		}
	}
}

// wantAllWays wants every way to append to have been committed, and rollbacks to have happened.
func (s *stress) wantAllWays() {
	want := []string{string(pgx.ReadCommitted), string(pgx.RepeatableRead), string(pgx.Serializable), "one phase", "several statements"}
	if s.appenders.twoPhase {
		want = append(want, "two-phase")
	} else {
		s.t.Log("max_prepared_transactions is 0, so two-phase commit was not tried")
	}
	for _, w := range ways {
		want = append(want, w.name)
	}
	for _, trait := range want {
		o := s.appenders.count[trait]
		if assert.NotNil(s.t, o, "%s was never tried", trait) {
			assert.Positive(s.t, o.committed, "%s was never committed", trait)
		}
	}
	assert.Positive(s.t, s.appenders.count["all"].rolledBack, "nothing was ever rolled back")
}

// print logs what happened as a table.
func (s *stress) print() {
	var out strings.Builder
	fmt.Fprintf(&out, "\n%22s %11s %11s %11s\n", "transactions", "committed", "rolled back", "refused")
	for _, trait := range slices.Sorted(maps.Keys(s.appenders.count)) {
		o := s.appenders.count[trait]
		fmt.Fprintf(&out, "%22s %11d %11d %11d\n", trait, o.committed, o.rolledBack, o.refused)
	}
	out.WriteString("\n")
	f := s.fleet
	for _, line := range []struct {
		what  string
		count any
	}{
		{"events committed", s.appenders.committed.Load()},
		{"workers killed", f.reported("killed")}, {"workers stopped", f.reported("stopped")}, {"worker processes", f.started},
		{"batches fenced off", f.reported(lineFenced)}, {"failed attempts", f.reported(lineFailed)},
		{"times quiet", f.reported(lineMode + "quiet")}, {"times in torrent", f.reported(lineMode + "torrent")},
		{"looks at the lag", s.lags.samples}, {"smallest lag", s.lags.smallest}, {"widest lag", s.lags.widest},
		{"disturbed for", s.took.Round(10 * time.Millisecond)}, {"last event to lag 0", s.settled.Round(time.Millisecond)},
	} {
		fmt.Fprintf(&out, "%22s %11v\n", line.what, line.count)
	}
	s.t.Log(out.String())
}
