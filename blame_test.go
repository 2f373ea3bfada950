package rouse_test

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
)

// These tests are of whose fault a failure is: that of the statement that failed, and not of what its error looks like.

// threeForms runs a test with a handler of single events, with one that queues statements, and with one that reads their results.
// Each sends what the statement of an event's type is; a type without one sends nothing.
func threeForms(t *testing.T, of func(t *testing.T, make func(statements map[string]string) rouse.Projection)) {
	t.Helper()
	for form, make := range map[string]func(statements map[string]string) rouse.Projection{
		"ByEvent": func(statements map[string]string) rouse.Projection {
			return projection{name: "p", hook: sendsByType(statements)}
		},
		"ByBatch": func(statements map[string]string) rouse.Projection {
			return batched{projection: projection{name: "p", hook: sendsByType(statements)}, queue: func(batch *pgx.Batch, ev eventstore.Event) error {
				if sql := statements[ev.Type]; sql != "" {
					batch.Queue(sql)
				}
				return nil
			}}
		},
		"ByBatchThatReads": func(statements map[string]string) rouse.Projection {
			return batched{projection: projection{name: "p", hook: sendsByType(statements)}, queue: func(batch *pgx.Batch, ev eventstore.Event) error {
				sql := statements[ev.Type]
				if sql == "" {
					sql = "select"
				}
				batch.Queue(sql).Exec(func(pgconn.CommandTag) error { return nil })
				return nil
			}}
		},
	} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			of(t, make)
		})
	}
}

func sendsByType(statements map[string]string) func(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	return func(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
		if statements[ev.Type] == "" {
			return nil
		}
		_, err := tx.Exec(ctx, statements[ev.Type])
		return err
	}
}

// fails makes the function fails(state), whose error has that SQLSTATE.
func (b *bundle) fails() {
	b.t.Helper()
	b.exec("create function fails(state text) returns void language plpgsql as $$ begin raise 'as the test wants' using errcode = state; end $$")
}

// lines is a log in memory.
type lines struct {
	mu  sync.Mutex // protects buf
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) count(parts ...string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
next:
	for line := range strings.Lines(l.buf.String()) {
		for _, part := range parts {
			if !strings.Contains(line, part) {
				continue next
			}
		}
		n++
	}
	return n
}

// impatient runs a worker that counts failures that others may be the cause of after a moment.
func (b *bundle) impatient(patience time.Duration, cfg rouse.Config) *running {
	b.t.Helper()
	w := workertest.New(b.t, b.pool(pgx.QueryExecModeCacheStatement), cfg)
	w.SetPatience(patience)
	return workertest.Run(b.t, w).WaitStarted()
}

// parkedAlone waits until an event is parked and all others are handled.
func (b *bundle) parkedAlone(w *running, bad int64, good ...int64) {
	b.t.Helper()
	testdb.Eventually(b.t, patience, "the event to be parked", func() (bool, error) {
		return b.int("select count(*) from parked_events where global_position = $1 and due_at is null", bad) == 1, nil
	})
	require.NoError(b.t, w.Drain(b.ctx))
	require.ElementsMatch(b.t, good, b.done("p"))
	require.EqualValues(b.t, 1, b.int("select count(*) from parked_events"))
	require.Zero(b.t, b.int("select count(*) from event_attempts"))
}

// Whatever SQLSTATE a handler's own statement fails with, it is its event's: the event is found, tried and parked, and all others
// are handled.
func TestStatementOfAHandlerIsItsEventsWhateverItFailsWith(t *testing.T) {
	t.Parallel()
	states := []string{"53400", "53200", "53300", "58030", "08001", "08006", "25006", "25P03", "57P01", "57P03", "57P05", "57014", "42501", "22012"}
	threeForms(t, func(t *testing.T, make func(map[string]string) rouse.Projection) {
		b := setup(t)
		b.fails()
		statements := map[string]string{}
		for _, state := range states {
			statements["bad "+state] = "select fails('" + state + "')"
		}
		var log lines
		w := b.impatient(time.Hour, rouse.Config{Projections: []rouse.Projection{make(statements)}, Retry: rouse.RetryPolicy{Tries: -1}, Log: zerolog.New(&log)})
		var good []int64
		for n, state := range states {
			at := b.appendAll("good", "bad "+state, "good")
			good = append(good, at[0], at[2])
			testdb.Eventually(t, patience, "the event that ends with "+state+" to be parked", func() (bool, error) {
				return b.int("select count(*) from parked_events where last_error like '%' || $1 || '%'", state) == int64(1), nil
			})
			require.NoError(t, w.Drain(b.ctx))
			require.EqualValues(t, n+1, b.int("select count(*) from parked_events"))
		}
		require.Equal(t, good, b.done("p"))
		require.Zero(t, log.count("does not answer"))
	})
}

// The same by what really happens, and not by errors that are raised.
func TestStatementOfAHandlerIsItsEventsWhateverItDoes(t *testing.T) {
	t.Parallel()
	for name, of := range map[string]struct{ sql, says string }{
		"temporary files":     {"select spills()", "temp_file_limit"},
		"read only":           {"set transaction read only", "read-only"},
		"a lock that is held": {"select 1 from held for update nowait", "another transaction is in the way"},
		"its own end":         {"select pg_terminate_backend(pg_backend_pid())", "no other session was"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			threeForms(t, func(t *testing.T, make func(map[string]string) rouse.Projection) {
				b := setup(t)
				b.exec(`create function spills() returns bigint language sql as $$
					select set_config('temp_file_limit', '64kB', true), set_config('work_mem', '64kB', true);
					select count(*) from (select md5(n::text) from generate_series(1, 50000) n order by 1 offset 1) s $$`)
				b.exec("create table held (n int)")
				b.exec("insert into held values (1)")
				holder, err := b.Conn(t).Begin(b.ctx)
				require.NoError(t, err)
				_, err = holder.Exec(b.ctx, "select from held for update")
				require.NoError(t, err)
				var log lines
				w := b.impatient(400*time.Millisecond, rouse.Config{Projections: []rouse.Projection{make(map[string]string{"bad": of.sql})}, Retry: rouse.RetryPolicy{Tries: 2}, Log: zerolog.New(&log)})
				at := b.appendAll("good", "good", "bad", "good")
				b.parkedAlone(w, at[2], at[0], at[1], at[3])
				require.Contains(t, b.text("select last_error from parked_events"), of.says)
				require.Zero(t, log.count("does not answer"))
				require.NoError(t, holder.Rollback(b.ctx))
			})
		})
	}
}

// An event that another transaction is in the way of for long holds nobody else up, is not counted, and is handled in the order of
// its aggregate when the other one is gone.
func TestConflictThatLastsHoldsNobodyElseUp(t *testing.T) {
	t.Parallel()
	threeForms(t, func(t *testing.T, make func(map[string]string) rouse.Projection) {
		b := setup(t)
		b.exec("create table held (n int)")
		b.exec("insert into held values (1)")
		holder, err := b.Conn(t).Begin(b.ctx)
		require.NoError(t, err)
		_, err = holder.Exec(b.ctx, "select from held for update")
		require.NoError(t, err)
		var log lines
		w := b.impatient(time.Hour, rouse.Config{
			Projections: []rouse.Projection{make(map[string]string{"bad": "select 1 from held for update nowait"})},
			Retry:       rouse.RetryPolicy{Tries: -1}, Log: zerolog.New(&log),
		})
		at := b.appendAll("good", "bad", "good", "good")
		testdb.Eventually(t, patience, "the others to be handled", func() (bool, error) { return len(b.done("p")) == 3, nil })
		require.EqualValues(t, 1, b.int("select count(*) from parked_events where due_at is not null and tries <= 1"))
		require.NoError(t, holder.Rollback(b.ctx))
		b.waitDone("p", 4)
		w.MustStop()
		require.ElementsMatch(t, at, b.done("p"))
		require.Positive(t, log.count("warn", "another transaction is in the way", "trying again"))
		require.Zero(t, log.count("an event is parked"))
	})
}

// What another database says is no conflict, and no outage, of this one.
func TestErrorOfAnotherDatabaseIsTheHandlers(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"40001", "40P01", "55P03", "53300", "57P01", "08006"} {
		elsewhere := fmt.Errorf("of another database: %w", &pgconn.PgError{Severity: "FATAL", Code: state})
		for form, p := range forms("p", "", func() error { return elsewhere }) {
			t.Run(state+"/"+form, func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				w := b.start(b.Pool, rouse.Config{Projections: []rouse.Projection{p}, Retry: rouse.RetryPolicy{Tries: -1}})
				at := b.appendAll("good", "bad", "good")
				b.parkedAlone(w, at[1], at[0], at[2])
			})
		}
		t.Run(state+"/Effect", func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			var calls atomic.Int64
			o := &outside{hook: func(_ context.Context, ev eventstore.Event, _ int) error {
				if ev.Type != "bad" {
					return nil
				}
				calls.Add(1)
				return elsewhere
			}}
			w := b.start(b.Pool, rouse.Config{Effects: []rouse.Effect{o}, Retry: rouse.RetryPolicy{Tries: 2}})
			at := b.appendAll("good", "bad", "good")
			b.parkedAlone(w, at[1])
			require.Equal(t, []int64{at[0], at[2]}, o.positions())
			require.LessOrEqual(t, calls.Load(), int64(3), "what fails is not called again and again")
		})
	}
}

// Conflicts do not count while they may be others', with pauses that grow, and count when they have lasted.
func TestConflictsOfOneEventCountWhenTheyHaveLasted(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"40001", "40P01", "55P03"} {
		threeFormsOf(t, state, func(t *testing.T, make func(map[string]string) rouse.Projection) {
			b := setup(t)
			b.fails()
			b.exec("create sequence tries")
			var log lines
			w := b.impatient(time.Second, rouse.Config{
				Projections: []rouse.Projection{make(map[string]string{"bad": "select nextval('tries'), fails('" + state + "')"})}, Retry: rouse.RetryPolicy{Tries: -1}, Log: zerolog.New(&log),
			})
			at := b.appendAll("good", "bad", "good")
			b.parkedAlone(w, at[1], at[0], at[2])
			require.Less(t, b.int("select last_value from tries"), int64(40), "the pauses grow")
			require.Positive(t, log.count("warn", "another transaction is in the way", "trying again"))
		})
	}
}

func threeFormsOf(t *testing.T, name string, of func(t *testing.T, make func(map[string]string) rouse.Projection)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		threeForms(t, of)
	})
}

// What fails the commit are deferred constraints, and other transactions.
func TestConflictAtTheCommitCountsWhenItHasLasted(t *testing.T) {
	t.Parallel()
	threeForms(t, func(t *testing.T, make func(map[string]string) rouse.Projection) {
		b := setup(t)
		b.fails()
		b.deferred("perform fails('40001')")
		w := b.impatient(300*time.Millisecond, rouse.Config{Projections: []rouse.Projection{make(map[string]string{"bad": "insert into late values (1)"})}, Retry: rouse.RetryPolicy{Tries: -1}})
		at := b.appendAll("good", "bad", "good")
		b.parkedAlone(w, at[1], at[0], at[2])
	})
}

// deferred makes a table late, an insert into which does something when it commits.
func (b *bundle) deferred(does string) {
	b.t.Helper()
	b.exec("create table late (n int)")
	b.exec("create function late() returns trigger language plpgsql as $$ begin " + does + "; return null; end $$")
	b.exec("create constraint trigger late after insert on late deferrable initially deferred for each row execute function late()")
}

// A commit has the time of a handler: its deferred constraints are the handler's statements.
func TestCommitHasTheTimeOfItsHandler(t *testing.T) {
	t.Parallel()
	threeForms(t, func(t *testing.T, make func(map[string]string) rouse.Projection) {
		b := setup(t)
		b.deferred("perform pg_sleep(11)") // longer than the worker's own statements may take
		at := b.appendAll("slow")
		require.NoError(t, b.drain(b.Pool, rouse.Config{
			Projections: []rouse.Projection{make(map[string]string{"slow": "insert into late values (1)"})}, HandlerTimeout: 50 * time.Second, OnFailure: rouse.Stop, Retry: rouse.RetryPolicy{Tries: -1},
		}))
		require.Equal(t, at, b.done("p"))
	})
}

// A handler that ends its goroutine fails at once, without any limit of time too, and is told what it did.
func TestHandlerThatEndsItsGoroutineFailsAtOnce(t *testing.T) {
	t.Parallel()
	exits := func() error { runtime.Goexit(); return nil }
	cfg := rouse.Config{Retry: rouse.RetryPolicy{Tries: 2}, HandlerTimeout: -1}
	for form, p := range forms("p", "", exits) {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			stopped := setup(t).stopsAt(p, cfg, pgx.QueryExecModeCacheStatement)
			require.ErrorContains(t, stopped, "ended its goroutine")
		})
	}
	t.Run("ByBatchThatReads", func(t *testing.T) {
		t.Parallel()
		p := batched{projection: forms("p", "", exits)["ByEvent"].(projection), queue: func(batch *pgx.Batch, ev eventstore.Event) error {
			batch.Queue("select").Exec(func(pgconn.CommandTag) error {
				if ev.Type == "bad" {
					return exits()
				}
				return nil
			})
			return nil
		}}
		stopped := setup(t).stopsAt(p, cfg, pgx.QueryExecModeCacheStatement)
		require.ErrorContains(t, stopped, "ended its goroutine")
	})
	t.Run("Effect", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		at := b.appendAll("bad", "good")
		o := &outside{hook: func(_ context.Context, ev eventstore.Event, _ int) error {
			if ev.Type == "bad" {
				return exits()
			}
			return nil
		}}
		require.NoError(t, b.drain(b.Pool, rouse.Config{Effects: []rouse.Effect{o}, Retry: rouse.RetryPolicy{Tries: -1}, HandlerTimeout: -1}))
		require.Equal(t, at[1:], o.positions())
		require.Contains(t, b.text("select last_error from parked_events"), "ended its goroutine")
	})
}

// A handler that lets a context of its own end during a statement closes its session by that, which is no outage.
func TestHandlersOwnDeadlineIsItsEvents(t *testing.T) {
	t.Parallel()
	b := setup(t)
	p := projection{name: "p", hook: func(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
		if ev.Type != "bad" {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		_, err := tx.Exec(ctx, "select pg_sleep(60)")
		return err
	}}
	w := b.start(b.Pool, rouse.Config{Projections: []rouse.Projection{p}, Retry: rouse.RetryPolicy{Tries: -1}})
	at := b.appendAll("good", "bad", "good")
	b.parkedAlone(w, at[1], at[0], at[2])
	require.Contains(t, b.text("select last_error from parked_events"), "a context of the handler's own ended")
}

// What a handler leaves open, or ignores, is its event's, and is said.
func TestWhatAHandlerLeavesBehindIsItsEvents(t *testing.T) {
	t.Parallel()
	for says, leaves := range map[string]func(ctx context.Context, tx pgx.Tx) error{
		"still open": func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Query(ctx, "select generate_series(1, 3)") //nolint:sqlclosecheck // which is the fault
			return err
		},
		"returned no error": func(ctx context.Context, tx pgx.Tx) error {
			_, _ = tx.Exec(ctx, "select 1 / 0")
			return nil
		},
	} {
		t.Run(says, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			p := leaving{leaves}
			w := b.start(b.Pool, rouse.Config{Projections: []rouse.Projection{p}, Retry: rouse.RetryPolicy{Tries: -1}})
			at := b.appendAll("good", "bad", "good")
			b.parkedAlone(w, at[1], at[0], at[2])
			require.Contains(t, b.text("select last_error from parked_events"), says)
		})
	}
}

// leaving is a projection that leaves something behind as the last thing that it does with an event of type "bad".
type leaving struct {
	leaves func(ctx context.Context, tx pgx.Tx) error
}

func (leaving) Name() string { return "p" }

func (p leaving) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	if _, err := tx.Exec(ctx, doneSQL, "p", ev.GlobalPosition); err != nil || ev.Type != "bad" {
		return err
	}
	return p.leaves(ctx, tx)
}
