package reliability_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/partition"
)

// form is how much is done.
type form struct {
	duration  time.Duration // of the faults
	events    int64         // that are appended at least, where there is no fault
	pace      float64       // of the faults; 1 is the rate of kinds
	seats     int
	perSecond int  // events
	hostile   bool // handlers have trouble with some events
	arms      []arm
	rounds    int // of the arms, before the faults
}

var (
	shortForm = form{duration: 12 * time.Second, pace: 0.6, seats: 3, perSecond: 150}
	longForm  = form{pace: 1, seats: 4, perSecond: 1000}

	shortHostileForm = form{duration: 8 * time.Second, pace: 0.4, seats: 3, perSecond: 250, hostile: true, arms: arms[:2], rounds: 1}
	longHostileForm  = form{pace: 0.3, seats: 4, perSecond: 3000, hostile: true, arms: arms, rounds: 3}
)

// kinds are those of its faults.
func (f form) kinds() []kind {
	if f.hostile {
		return hostileKinds
	}
	return kinds
}

// arena is everything that takes part.
type arena struct {
	t       *testing.T
	form    form
	seed    uint64
	machine testdb.Machine
	db      *database
	seats   []*seat
	door    *gate      // of half of the appenders
	doorMu  sync.Mutex // held while it is broken
	record  *record
	watch   *watcher
	hostile *hostility // nil: the handlers have no trouble

	serverMu  sync.RWMutex // held while the server is broken, and shared by those who need it
	serviceMu sync.Mutex   // held while the service of the effect is away
	shareMu   sync.Mutex   // held while the number of partitions is changed

	mu           sync.Mutex // protects following fields
	count        map[string]int
	disturbances []disturbance

	innocent []waiting // written by makePeace
	vain     bool      // written by wait, which one goroutine calls
}

// newArena has a worker on each seat, in a database of the machine, which is nil where no fault breaks the server. broken is
// how their handlers are broken, "" if they are not.
func newArena(t *testing.T, f form, seed uint64, m testdb.Machine, db *testdb.DB, broken string) *arena {
	t.Helper()
	a := &arena{t: t, form: f, seed: seed, machine: m, record: newRecord(), count: map[string]int{}}
	a.db = newDatabase(t, db.URL)
	told := order{Broken: broken, Partitions: partitions, Logs: *logsFlag}
	if f.hostile {
		a.hostile = newHostility(t, seed)
		told.Hostile, told.Partitions = a.hostile, 0
		for _, name := range []string{projectionName, effectName} {
			_, err := partition.Ensure(t.Context(), a.db.pool, name, partitions)
			require.NoError(t, err)
		}
	}
	require.NoError(t, a.db.run(t.Context(), statement("tables")))
	a.door = newGate(t, "door", db.URL)
	a.watch = startWatcher(a.db.url)
	t.Cleanup(a.watch.stop)
	folder := t.TempDir()
	t.Cleanup(func() {
		for _, s := range a.seats {
			s.clear()
		}
	})
	for i := range f.seats {
		s := &seat{t: t, number: i, gate: newGate(t, fmt.Sprint("seat ", i), db.URL), folder: folder, order: told,
			rng: rand.New(rand.NewPCG(seed, uint64(i)|1<<33))}
		require.NoError(t, s.fill(t.Context()))
		a.seats = append(a.seats, s)
	}
	for _, s := range a.seats {
		testdb.Eventually(t, patience, "every worker to have something", func() (bool, error) { return a.watch.owns(s.label()), nil })
	}
	return a
}

// gate is the gate that an entry is for.
func (a *arena) gate(e entry) *gate {
	if e.seat == noSeat {
		return a.door
	}
	return a.seats[e.seat].gate
}

// run appends events while it follows the schedule, waits until everything has recovered, and stops everybody. What it
// returns is over: nobody writes any more.
func (a *arena) run(schedule []entry) outcome {
	a.t.Helper()
	began := time.Now()
	writers := startAppenders(a.t, a.seed, a.form.perSecond, a.record, a.watch, a.hostile, a.db.bare, a.door.url)
	stretches := a.measure(writers)
	a.follow(schedule, time.Now())
	few := a.wait(func() (bool, error) { return a.record.total() >= a.form.events, nil })
	require.NoError(a.t, few)
	unrecovered := a.wait(func() (bool, error) { return a.watch.unfinished() == 0, nil })
	writers.halt()
	took := time.Since(began)
	behind := a.wait(a.db.caughtUp)
	a.makePeace()
	for _, s := range a.seats {
		s.retire()
	}
	o := outcome{took: took, count: a.count, recoveries: a.watch.recoveries(), stretches: stretches}
	if unrecovered != nil {
		o.unrecovered = a.watch.unfinished()
		a.t.Logf("%d recoveries are not over: %v", o.unrecovered, unrecovered)
	}
	if behind != nil {
		a.t.Logf("the checkpoints are behind: %v", behind)
	}
	return o
}

// outcome is what a run was like.
type outcome struct {
	took        time.Duration
	count       map[string]int         // of faults, by name
	recoveries  map[string][]recovered // by fault
	stretches   []stretch
	unrecovered int // faults after which something was never handled again
}

// wait polls until cond holds, and returns an error when patience has ended. Whoever has waited for something in vain has
// little patience with the rest.
func (a *arena) wait(cond func() (bool, error)) error {
	within := patience
	if a.vain {
		within = patience / 10
	}
	for deadline := time.Now().Add(within); ; pause(context.Background(), 20*time.Millisecond) {
		ok, err := cond()
		if ok && err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			a.vain = true
			return errors.Join(fmt.Errorf("not within %v", within), err)
		}
	}
}

// follow injects and heals what the schedule says, and returns when everything is healed.
func (a *arena) follow(schedule []entry, began time.Time) {
	var wg sync.WaitGroup
	for _, e := range schedule {
		pause(a.t.Context(), time.Until(began.Add(e.at)))
		wg.Go(func() { a.do(e) })
	}
	wg.Wait()
}

// do is one fault from beginning to end, on what nobody else breaks meanwhile.
func (a *arena) do(e entry) {
	lock := a.lockOf(e)
	lock.Lock()
	defer lock.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), e.lasts+2*patience)
	defer cancel()
	f := e.kind.make(a, e)
	from := time.Now()
	defer func() { a.disturbed(e, from) }()
	a.watch.breaks()
	defer a.watch.heals()
	switch e.kind.target {
	case sessions:
		a.watch.begin(f.Name(), "")
	case workers, networks:
		if e.seat != noSeat {
			a.watch.begin(f.Name(), a.seats[e.seat].label())
		}
	}
	if err := f.Inject(ctx); err != nil {
		a.t.Errorf("seed %d: injecting %v: %v", a.seed, e, err)
	}
	pause(ctx, e.lasts)
	if err := f.Heal(ctx); err != nil {
		a.t.Errorf("seed %d: healing %v: %v", a.seed, e, err)
	}
	if e.kind.target == servers {
		a.watch.begin(f.Name(), "")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count[f.Name()]++
}

// lockOf is the lock of what a fault breaks.
func (a *arena) lockOf(e entry) sync.Locker {
	switch {
	case e.kind.target == servers:
		return &a.serverMu
	case e.kind.target == sessions, e.kind.target == shares:
		return a.serverMu.RLocker()
	case e.kind.target == services:
		return &a.serviceMu
	case e.seat == noSeat:
		return &a.doorMu
	}
	return a.seats[e.seat]
}

// database is the way of the test itself to the database, which lives through faults.
type database struct {
	bare string // URL as others use it
	url  string // the same under the name by which the sessions of the test are known
	pool *pgxpool.Pool
}

func newDatabase(t testing.TB, bare string) *database {
	t.Helper()
	u, err := url.Parse(bare)
	require.NoError(t, err)
	query := u.Query()
	query.Set("application_name", ownName)
	u.RawQuery = query.Encode()
	pool, err := pgxpool.New(context.Background(), u.String())
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return &database{bare: bare, url: u.String(), pool: pool}
}

// run runs statements without parameters.
func (db *database) run(ctx context.Context, sql string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := db.pool.Exec(ctx, sql)
	return err
}

// exec repeats a statement that returns a number until the number is not 0: the server may be busy with its recovery, and
// those who are meant may not be there yet.
func (db *database) exec(ctx context.Context, name string, args ...any) error {
	for ; ; pause(ctx, 20*time.Millisecond) {
		bound, cancel := context.WithTimeout(ctx, 5*time.Second)
		var n int64
		err := db.pool.QueryRow(bound, statement(name), args...).Scan(&n)
		cancel()
		if err == nil && n > 0 {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", name, ctx.Err())
		}
	}
}

// caughtUp tells whether every checkpoint has reached the last event.
func (db *database) caughtUp() (bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var behind, all, projections int
	if err := db.pool.QueryRow(ctx, statement("behind")).Scan(&behind, &all, &projections); err != nil {
		return false, err
	}
	if behind > 0 || projections != 2 {
		return false, fmt.Errorf("%d of %d checkpoints are behind", behind, all)
	}
	return true, nil
}
