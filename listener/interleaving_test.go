package listener_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
)

// interleaving is one order in which the steps of arming and of an append can fall. Each function runs between two steps of
// the reader, and may be nil.
type interleaving struct {
	name   string
	before func(a *acts) // before S is taken
	armed  func(a *acts) // after S and the head, before the first read
	read   func(a *acts) // after the first read; the reader sleeps, or reads again because it may not sleep yet
	slept  func(a *acts) // when the reader sleeps
	naive  bool          // who sleeps after the first read loses the event
}

var interleavings = []interleaving{
	{
		name:   "inserted before arming, committed after the read",
		before: func(a *acts) { a.begin(); a.insert() },
		read:   func(a *acts) { a.commit() },
		naive:  true,
	}, {
		name:   "inserted before arming, committed between arming and the read",
		before: func(a *acts) { a.begin(); a.insert() },
		armed:  func(a *acts) { a.commit() },
	}, {
		name:   "inserted twice before arming, committed after the read",
		before: func(a *acts) { a.begin(); a.insert(); a.insert() },
		read:   func(a *acts) { a.commit() },
		naive:  true,
	}, {
		name:   "inserted in a savepoint before arming, committed after the read",
		before: func(a *acts) { a.begin(); a.exec("savepoint s"); a.insert(); a.exec("release s") },
		read:   func(a *acts) { a.commit() },
		naive:  true,
	}, {
		name:   "inserted before arming, prepared, committed by another session after the read",
		before: func(a *acts) { a.begin(); a.insert(); a.prepare() },
		read:   func(a *acts) { a.commitPrepared() },
		naive:  true,
	}, {
		name:   "begun before arming, inserted before the read, committed when the reader sleeps",
		before: func(a *acts) { a.begin(); a.exec("select count(*) from events") },
		armed:  func(a *acts) { a.insert() },
		slept:  func(a *acts) { a.commit() },
	}, {
		name:   "begun before arming, inserted and committed when the reader sleeps",
		before: func(a *acts) { a.begin(); a.exec("select count(*) from events") },
		slept:  func(a *acts) { a.insert(); a.commit() },
	}, {
		name:   "the statement began before arming and took its position when the reader slept",
		before: func(a *acts) { a.begin(); a.insertHeldAt(1, 1) },
		slept:  func(a *acts) { a.letGo(); a.commit() },
	}, {
		name:   "the statement took one position before arming and one after the read",
		before: func(a *acts) { a.begin(); a.insertHeldAt(2, 2) },
		read:   func(a *acts) { a.letGo(); a.commit() },
	}, {
		name:   "inserted before arming and again after the read",
		before: func(a *acts) { a.begin(); a.insert() },
		read:   func(a *acts) { a.insert(); a.commit() },
	}, {
		name:   "behind an append that rolls back after the read",
		before: func(a *acts) { a.begin(); a.insertInVain(); a.other() },
		read:   func(a *acts) { a.rollback() },
	}, {
		name:   "behind an append that rolls back when the other has committed, after the read",
		before: func(a *acts) { a.begin(); a.insertInVain(); a.otherBegins() },
		read:   func(a *acts) { a.otherCommits(); a.rollback() },
		naive:  true,
	}, {
		name:   "before an append that stays open and is done after the read",
		before: func(a *acts) { a.otherBegins(); a.begin(); a.insert() },
		read:   func(a *acts) { a.commit(); a.otherCommits() },
		naive:  true,
	},
}

func TestArming_InEveryOrderOfSteps(t *testing.T) {
	t.Parallel()
	for _, isolation := range isolations {
		t.Run(string(isolation), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			st := &stage{b: b, ears: b.listen(t, wakeChannel(b.log.Events)),
				main: b.appender(t, isolation, "main"), second: b.appender(t, isolation, "second")}
			for _, i := range interleavings {
				t.Run(i.name, func(t *testing.T) {
					require.Zero(t, st.play(t, i, false), "events that waited for a poll")
				})
				t.Run(i.name+", naive", func(t *testing.T) {
					require.Equal(t, i.naive, st.play(t, i, true) > 0, "the naive reader loses the event")
				})
			}
		})
	}
}

// stage has the connections of a play: the reader's and those of two appenders.
type stage struct {
	b            *testBundle
	ears         *ears
	main, second *appender
}

// play returns how many events the reader has not found when all is done.
func (st *stage) play(t *testing.T, i interleaving, naive bool) (missing int) {
	b := st.b
	s := b.sleeper(t, st.ears, naive)
	a := &acts{t: t, stage: st}
	act := func(f func(*acts)) {
		if f != nil {
			f(a)
		}
	}
	act(i.before)
	require.NoError(t, s.handler.Arm(b.ctx))
	act(i.armed)
	asleep := s.read(t)
	act(i.read)
	if !asleep {
		s.fallAsleep(t)
	}
	act(i.slept)
	_, err := b.Pool.Exec(b.ctx, "select pg_notify($1, '')", barrier)
	require.NoError(t, err)
	s.sleep(t)
	require.NoError(t, s.handler.Disarm(b.ctx))
	require.NotEmpty(t, a.committed)
	return s.missing(a.committed)
}

// acts are the steps of the appenders. Positions count once they are committed.
type acts struct {
	t *testing.T
	*stage

	tx, otherTx pgx.Tx
	positions   []int64 // inserted by tx
	otherWrote  int64
	committed   []int64

	gate pgx.Tx // a held statement waits for its end
	held chan error
}

func (a *acts) begin() {
	var err error
	a.tx, err = a.main.begin(a.b.ctx)
	require.NoError(a.t, err)
	a.t.Cleanup(func() { rollback(a.tx) })
}

// rollback ends a transaction that a failed test has left open.
func rollback(tx pgx.Tx) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_ = tx.Rollback(ctx)
}

func (a *acts) exec(sql string) {
	_, err := a.tx.Exec(a.b.ctx, sql)
	require.NoError(a.t, err)
}

func (a *acts) insert() {
	position, err := a.main.insert(a.b.ctx, a.tx)
	require.NoError(a.t, err)
	a.positions = append(a.positions, position)
}

// insertInVain inserts what will be rolled back.
func (a *acts) insertInVain() {
	_, err := a.main.insert(a.b.ctx, a.tx)
	require.NoError(a.t, err)
}

func (a *acts) commit() {
	require.NoError(a.t, a.tx.Commit(a.b.ctx))
	a.committed = append(a.committed, a.positions...)
}

func (a *acts) rollback() { require.NoError(a.t, a.tx.Rollback(a.b.ctx)) }

// prepare ends the session's part of a two-phase commit. The name has to be the only one of its kind on the server.
func (a *acts) prepare() {
	var enabled bool
	require.NoError(a.t, a.b.Pool.QueryRow(a.b.ctx, "select current_setting('max_prepared_transactions')::int > 0").Scan(&enabled))
	if !enabled {
		a.t.Skip("the server has max_prepared_transactions = 0")
	}
	a.exec("prepare transaction '" + a.b.Name + "'")
	a.rollback() // the session is not in a transaction any more, only pgx does not know
}

func (a *acts) commitPrepared() {
	_, err := a.b.Pool.Exec(a.b.ctx, "commit prepared '"+a.b.Name+"'")
	require.NoError(a.t, err)
	a.committed = append(a.committed, a.positions...)
}

// insertHeldSQL inserts $2 events of the aggregate $1, and waits before it takes the position of the event $3: for a lock
// that says nothing to anybody else.
const insertHeldSQL = `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
	select 'test', $1, n, 'Happened', '{}' from generate_series(1, $2::int) n
	where n <> $3 or pg_advisory_xact_lock(1, 1) is not null returning global_position`

// insertHeldAt starts a statement that inserts count events and stops before the position of one of them.
func (a *acts) insertHeldAt(at, count int) {
	var err error
	a.gate, err = a.b.Pool.Begin(a.b.ctx)
	require.NoError(a.t, err)
	a.t.Cleanup(func() { rollback(a.gate) })
	_, err = a.gate.Exec(a.b.ctx, "select pg_advisory_xact_lock(1, 1)")
	require.NoError(a.t, err)
	a.held = make(chan error, 1) // buffered so that the goroutine ends even if the test has failed
	go func() {
		rows, err := a.tx.Query(a.b.ctx, insertHeldSQL, a.t.Name(), count, at)
		if err == nil {
			a.positions, err = pgx.CollectRows(rows, pgx.RowTo[int64])
		}
		a.held <- err
	}()
	pid := a.main.conn.PgConn().PID()
	testdb.Eventually(a.t, patience, "the insert to stop", func() (blocked bool, err error) {
		err = a.b.Pool.QueryRow(a.b.ctx, "select cardinality(pg_blocking_pids($1)) > 0", int32(pid)).Scan(&blocked)
		return blocked, err
	})
}

func (a *acts) letGo() {
	require.NoError(a.t, a.gate.Rollback(a.b.ctx))
	require.NoError(a.t, <-a.held)
}

// other appends an event in another transaction, all at once.
func (a *acts) other() {
	a.otherBegins()
	a.otherCommits()
}

func (a *acts) otherBegins() {
	var err error
	a.otherTx, err = a.second.begin(a.b.ctx)
	require.NoError(a.t, err)
	a.t.Cleanup(func() { rollback(a.otherTx) })
	a.otherWrote, err = a.second.insert(a.b.ctx, a.otherTx)
	require.NoError(a.t, err)
}

func (a *acts) otherCommits() {
	require.NoError(a.t, a.otherTx.Commit(a.b.ctx))
	a.committed = append(a.committed, a.otherWrote)
}
