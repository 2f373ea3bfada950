package integration_test

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rouse-es/rouse/eventstore"
)

//go:embed sql/stress_*.sql
var stressFiles embed.FS

// stressSQL is one of the statements of the stress test.
func stressSQL(name string) string {
	sql, err := stressFiles.ReadFile("sql/stress_" + name + ".sql")
	if err != nil {
		panic(err)
	}
	return string(sql)
}

const (
	// holdKey is the first key of the locks by which appenders hold aggregates.
	holdKey = 7001

	appenderTimeout = time.Minute // of one transaction
	aggregateType   = "order"
)

// appenders write to the log in every way that PostgreSQL offers, most of them as a program would that knows nothing of
// Rouse. Each aggregate is written by whoever holds it, so versions come in the order of the log.
type appenders struct {
	conns      []*pgx.Conn
	aggregates int  // the second half of them is not held, and written by eventstore.Append with Any alone
	twoPhase   bool // the server has prepared transactions
	prefix     string
	seed       uint64
	pace       pace

	committed atomic.Int64 // events

	mu    sync.Mutex // protects count
	count map[string]*outcomes
}

// outcomes counts transactions that had something in common.
type outcomes struct{ committed, rolledBack, refused int }

// newAppenders connects n appenders, who disconnect at the end of the test.
func newAppenders(t testing.TB, url, prefix string, n, aggregates int, seed uint64) *appenders {
	t.Helper()
	as := &appenders{aggregates: aggregates, prefix: prefix, seed: seed, count: map[string]*outcomes{}}
	ctx, cancel := context.WithTimeout(t.Context(), appenderTimeout)
	defer cancel()
	for range n {
		as.conns = append(as.conns, stressConn(t, url))
	}
	var prepared int
	if err := as.conns[0].QueryRow(ctx, "select current_setting('max_prepared_transactions')::int").Scan(&prepared); err != nil {
		t.Fatal(err)
	}
	as.twoPhase = prepared > 0
	return as
}

// stressConn opens a connection that is closed at the end of the test.
func stressConn(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), appenderTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	})
	return conn
}

// run appends until enough says so, and returns when nobody has a transaction open any more.
func (as *appenders) run(ctx context.Context, enough func() bool) error {
	results := make(chan error, len(as.conns))
	for i, conn := range as.conns {
		a := &appender{appenders: as, conn: conn, number: i, rng: rand.New(rand.NewPCG(as.seed, uint64(i)))}
		go func() {
			for a.appenders.pace.wait(ctx, a.number); !enough(); a.appenders.pace.wait(ctx, a.number) {
				if err := a.transaction(ctx); err != nil {
					results <- fmt.Errorf("appender %d: %w", a.number, err)
					return
				}
			}
			results <- ctx.Err()
		}()
	}
	var errs []error
	for range as.conns {
		errs = append(errs, <-results)
	}
	as.seed++ // the next run does something else
	return errors.Join(errs...)
}

// note counts a transaction under everything that it was.
func (as *appenders) note(traits []string, events int, committed bool, err error) {
	if err == nil && committed {
		as.committed.Add(int64(events))
	}
	as.mu.Lock()
	defer as.mu.Unlock()
	for _, trait := range traits {
		o := as.count[trait]
		if o == nil {
			o = &outcomes{}
			as.count[trait] = o
		}
		switch {
		case err != nil:
			o.refused++
		case committed:
			o.committed++
		default:
			o.rolledBack++
		}
	}
}

// appender is one of them, with a connection and an order of its own.
type appender struct {
	*appenders
	conn   *pgx.Conn
	number int
	rng    *rand.Rand
	serial int // of its two-phase transactions
}

// transaction appends in one transaction and commits it or rolls it back. It returns an error only where the harness is
// broken: refusals that a writer has to expect are counted, and the transaction counts as never made.
func (a *appender) transaction(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, appenderTimeout)
	defer cancel()
	level := a.level()
	tx, err := a.conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: level})
	if err != nil {
		return err
	}
	traits := []string{string(level)}
	events, used, err := a.fill(ctx, tx)
	traits = append(traits, used...)
	if err == nil && events == 0 { // every aggregate that was asked for is held
		return tx.Rollback(ctx)
	}
	committed := false
	if err == nil {
		pauseFor(ctx, a.delay())
		var ending string
		ending, committed, err = a.end(ctx, tx)
		traits = append(traits, ending)
	}
	if err != nil {
		if !mustBeReady(err) {
			return err
		}
		if rollbackErr := tx.Rollback(ctx); rollbackErr != nil && !errors.Is(rollbackErr, pgx.ErrTxClosed) {
			return rollbackErr
		}
	}
	a.note(append(traits, "all"), events, committed, err)
	return nil
}

func (a *appender) level() pgx.TxIsoLevel {
	switch a.rng.IntN(5) {
	case 0:
		return pgx.RepeatableRead
	case 1:
		return pgx.Serializable
	}
	return pgx.ReadCommitted
}

// delay is the time between insert and commit: up to 30 ms, and ten times as much for one in fifty.
func (a *appender) delay() time.Duration {
	if a.rng.IntN(50) == 0 {
		return 300 * time.Millisecond
	}
	return time.Duration(a.rng.Int64N(int64(30 * time.Millisecond)))
}

// fill appends with one to three statements and returns how many events are in the transaction now, and by which ways.
func (a *appender) fill(ctx context.Context, tx pgx.Tx) (events int, used []string, err error) {
	available := ways
	for range 1 + a.rng.IntN(3) {
		w := available[a.rng.IntN(len(available))]
		if !w.holds {
			available = waysThatHold // two of the others make deadlocks, which take the server a second to see
		}
		agg, ok, err := a.choose(ctx, tx, w)
		if err != nil {
			return events, used, err
		}
		if !ok {
			continue
		}
		used = append(used, w.name)
		n, err := w.append(ctx, a, tx, agg)
		if err != nil {
			return events, used, err
		}
		events += n
		if a.rng.IntN(3) == 0 {
			pauseFor(ctx, a.delay()/3)
		}
	}
	if len(used) > 1 {
		used = append(used, "several statements")
	}
	return events, used, nil
}

// heldAggregate is one that the transaction may write to, and its version, which is not looked at where it is not held.
type heldAggregate struct {
	id      string
	version int64
}

// choose picks an aggregate and takes hold of it; false if others hold what it tried.
func (a *appender) choose(ctx context.Context, tx pgx.Tx, w way) (heldAggregate, bool, error) {
	held := a.aggregates / 2
	if !w.holds {
		return heldAggregate{id: aggregateID(held + a.rng.IntN(a.aggregates-held))}, true, nil
	}
	for range 3 {
		n := a.rng.IntN(held)
		agg, got := heldAggregate{id: aggregateID(n)}, false
		if err := tx.QueryRow(ctx, stressSQL("hold"), holdKey, n).Scan(&got); err != nil {
			return agg, false, err
		}
		if got {
			err := tx.QueryRow(ctx, stressSQL("version"), aggregateType, agg.id).Scan(&agg.version)
			return agg, err == nil, err
		}
	}
	return heldAggregate{}, false, nil
}

func aggregateID(n int) string { return "order-" + strconv.Itoa(n) }

// end commits, or rolls back one in ten; in one phase or in two.
func (a *appender) end(ctx context.Context, tx pgx.Tx) (how string, committed bool, err error) {
	commit := a.rng.IntN(10) > 0
	if a.twoPhase && a.rng.IntN(6) == 0 {
		return "two-phase", commit, a.endTwoPhase(ctx, tx, commit)
	}
	if commit {
		return "one phase", true, tx.Commit(ctx)
	}
	return "one phase", false, tx.Rollback(ctx)
}

// endTwoPhase is refused while a worker sleeps, because PostgreSQL cannot prepare a transaction that has notified.
func (a *appender) endTwoPhase(ctx context.Context, tx pgx.Tx, commit bool) error {
	a.serial++
	gid := fmt.Sprintf("%s_%d_%d_%d", a.prefix, a.seed, a.number, a.serial)
	if _, err := tx.Exec(ctx, "prepare transaction '"+gid+"'"); err != nil {
		return err
	}
	pauseFor(ctx, a.delay()/3)
	second := "commit prepared '"
	if !commit {
		second = "rollback prepared '"
	}
	_, err := a.conn.Exec(ctx, second+gid+"'")
	return err
}

// mustBeReady tells whether an error is one that a writer must be ready for.
func mustBeReady(err error) bool {
	var pgErr *pgconn.PgError
	switch {
	case errors.Is(err, eventstore.ErrConflict), errors.Is(err, eventstore.ErrRetryTransaction):
		return true
	case errors.As(err, &pgErr):
		switch pgErr.Code {
		case "40001", "40P01", "23505": // serialization_failure, deadlock_detected, unique_violation: another was faster
			return true
		case "0A000", "53400": // PREPARE after NOTIFY; too many prepared transactions
			return true
		}
	}
	return false
}

// pauseFor waits, or returns when ctx is cancelled.
func pauseFor(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// pace makes the appenders' load rise and fall: bursts at full speed, and lulls in which two of them write now and then,
// so that workers fall asleep. Its zero value is one burst without end.
type pace struct {
	mu    sync.Mutex    // protects burst
	burst chan struct{} // closed when the next burst begins; nil during one
}

// wait returns when appender number may begin its next transaction.
func (p *pace) wait(ctx context.Context, number int) {
	p.mu.Lock()
	burst := p.burst
	p.mu.Unlock()
	if burst == nil {
		return
	}
	var little <-chan time.Time
	if number < 2 {
		timer := time.NewTimer(150 * time.Millisecond)
		defer timer.Stop()
		little = timer.C
	}
	select {
	case <-burst:
	case <-little:
	case <-ctx.Done():
	}
}

// alternate changes between bursts and lulls until ctx is cancelled, and ends in a burst. No lull: a burst throughout.
func (p *pace) alternate(ctx context.Context, burst, lull time.Duration) {
	for lull > 0 && ctx.Err() == nil {
		pauseFor(ctx, burst)
		next := make(chan struct{})
		p.set(next)
		pauseFor(ctx, lull)
		p.set(nil)
		close(next)
	}
}

func (p *pace) set(burst chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.burst = burst
}
