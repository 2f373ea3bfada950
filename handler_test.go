package rouse_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
)

var errBad = errors.New("this one is bad")

// failures notes every failed attempt, and every fence that broke.
type failures struct {
	mu     sync.Mutex // protects the fields below
	at     []time.Time
	errs   []error
	fenced int
}

func (f *failures) observer() rouse.Observer {
	return rouse.Observer{
		Failed: func(_ string, _ int, err error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.at, f.errs = append(f.at, time.Now()), append(f.errs, err)
		},
		Fenced: func(string, int) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.fenced++
		},
	}
}

// forms are the two forms of a projection that does something bad for events of type "bad": by a statement, in which case
// sql is what it sends, or in Go.
func forms(name, sql string, hook func() error) map[string]rouse.Projection {
	p := projection{name: name, hook: func(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
		if ev.Type != "bad" {
			return nil
		}
		if hook != nil {
			return hook()
		}
		_, err := tx.Exec(ctx, sql)
		return err
	}}
	return map[string]rouse.Projection{
		"ByEvent": p,
		"ByBatch": batched{projection: p, queue: func(batch *pgx.Batch, ev eventstore.Event) error {
			if ev.Type != "bad" {
				return nil
			}
			if hook != nil {
				return hook()
			}
			batch.Queue(sql)
			return nil
		}},
	}
}

// stopsAt runs a projection on good, good, bad, good and says that it stops at the bad one, with the two before it done.
func (b *bundle) stopsAt(p rouse.Projection, cfg rouse.Config, mode pgx.QueryExecMode) *rouse.StoppedError {
	b.t.Helper()
	at := b.appendAll("good", "good", "bad", "good")
	cfg.Projections, cfg.OnFailure = append(cfg.Projections, p), rouse.Stop
	err := b.drain(b.pool(mode), cfg)
	var stopped *rouse.StoppedError
	require.ErrorAs(b.t, err, &stopped)
	require.Equal(b.t, p.Name(), stopped.Projection)
	require.Equal(b.t, at[2], stopped.Position)
	require.Equal(b.t, "bad", stopped.EventType)
	require.Equal(b.t, "thing", stopped.AggregateType)
	require.EqualValues(b.t, 1, stopped.Version)
	require.ErrorContains(b.t, err, stopped.AggregateID)
	require.Equal(b.t, at[:2], b.done(p.Name()), "good events before the bad one are done, once, and nothing after it is")
	require.Zero(b.t, b.int("select count(*) from projection_checkpoints where projection_name = $1 and last_global_position >= $2", p.Name(), at[2]),
		"no checkpoint passes the bad event")
	require.Equal(b.t, at[2], b.int("select error_position from projections where projection_name = $1 and state = 'stopped'", p.Name()))
	return stopped
}

func TestFailingEventStopsItsProjection(t *testing.T) {
	t.Parallel()
	for form, p := range forms("p", "", func() error { return errBad }) {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			var f failures
			stopped := b.stopsAt(p, rouse.Config{Retry: rouse.RetryPolicy{Tries: 4}, Observer: f.observer()}, pgx.QueryExecModeCacheStatement)
			require.ErrorIs(t, stopped, errBad)
			require.Len(t, f.errs, 1+1+3, "once in the batch, once alone, and three more times")
			for i, least := range []time.Duration{50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond} { // 100, 200, 400 ms, give or take half
				require.GreaterOrEqual(t, f.at[i+2].Sub(f.at[i+1]), least, "the pauses grow")
			}

			// Mended, it goes on from where it stopped.
			require.NoError(t, b.drain(b.Pool, rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}}))
			require.Equal(t, []int64{1, 2, 3, 4}, b.done("p"))
			require.Equal(t, int64(1), b.int("select count(*) from projections where state = 'running' and last_error is null"))
		})
	}
}

// Whatever a handler says, it can be written down.
func TestReasonWithBytesThatAreNoTextIsWrittenDown(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append("bad")
	p := forms("p", "", func() error { return errors.New("cannot decode \x00\xff\xfe here") })["ByEvent"]
	require.Error(t, b.drain(b.Pool, rouse.Config{Projections: []rouse.Projection{p}, Retry: rouse.RetryPolicy{Tries: 1}, OnFailure: rouse.Stop}))
	require.EqualValues(t, 1, b.int("select count(*) from projections where state = 'stopped' and last_error like '%cannot decode % here%'"))
}

func TestOtherProjectionsGoOn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	bad := forms("bad", "", func() error { return errBad })["ByEvent"]
	w := b.start(b.Pool, rouse.Config{Projections: []rouse.Projection{bad, projection{name: "good"}}, Retry: rouse.RetryPolicy{Tries: 1}, OnFailure: rouse.Stop})
	first := b.append("bad")
	testdb.Eventually(t, patience, "the projection to stop", func() (bool, error) { return w.Status().States["bad"] == rouse.StateStopped, nil })
	second := b.append("good")
	testdb.Eventually(t, patience, "the other one to go on", func() (bool, error) { return len(b.done("good")) == 2, nil })
	require.Equal(t, []int64{first, second}, b.done("good"))
	require.Empty(t, b.done("bad"))

	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	require.ErrorIs(t, w.Drain(ctx), errBad, "it must not wait for a projection that is stopped")
	require.ErrorIs(t, w.Stop(), errBad)
}

// Drain must also end when one projection of several is stopped, and say so.
func TestDrainOfAFreshWorkerReportsAStoppedProjection(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.appendAll("good", "bad")
	bad := forms("bad", "", func() error { return errBad })["ByEvent"]
	err := b.drain(b.Pool, rouse.Config{Projections: []rouse.Projection{bad, projection{name: "good"}}, Retry: rouse.RetryPolicy{Tries: 1}, OnFailure: rouse.Stop})
	require.ErrorIs(t, err, errBad)
	require.Equal(t, 1, strings.Count(err.Error(), errBad.Error()), "once is enough: %v", err)
}

func TestPanicIsAFailureOfItsEvent(t *testing.T) {
	t.Parallel()
	for form, p := range forms("p", "", func() error { panic("oh no") }) {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			stopped := setup(t).stopsAt(p, rouse.Config{Retry: rouse.RetryPolicy{Tries: 1}, OnFailure: rouse.Stop}, pgx.QueryExecModeCacheStatement)
			require.ErrorContains(t, stopped, "panicked at handler_test.go:")
			require.ErrorContains(t, stopped, ": oh no")
		})
	}
}

// The save raises division_by_zero in the server. A handler that divides by zero must not be taken for a broken fence, or it
// would be tried for ever.
func TestDivisionByZeroInAHandlerIsItsOwnFault(t *testing.T) {
	t.Parallel()
	for form, p := range forms("p", "select 1 / 0", nil) {
		for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
			t.Run(form+"/"+mode.String(), func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				var f failures
				stopped := b.stopsAt(p, rouse.Config{Retry: rouse.RetryPolicy{Tries: 1}, Observer: f.observer()}, mode)
				require.ErrorContains(t, stopped, "22012")
				require.Zero(t, f.fenced)
			})
		}
	}
}

// A handler that ignores the error of a statement has a transaction that cannot be saved in any more.
func TestErrorThatAHandlerIgnoresIsAFailure(t *testing.T) {
	t.Parallel()
	b := setup(t)
	at := b.appendAll("good", "bad")
	p := projection{name: "p", hook: func(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
		if ev.Type == "bad" {
			_, _ = tx.Exec(ctx, "select 1 / 0")
		}
		return nil
	}}
	err := b.drain(b.Pool, rouse.Config{Projections: []rouse.Projection{p}, Retry: rouse.RetryPolicy{Tries: 1}, OnFailure: rouse.Stop})
	var stopped *rouse.StoppedError
	require.ErrorAs(t, err, &stopped)
	require.Equal(t, at[1], stopped.Position)
}

// A constraint that is checked at the commit fails the COMMIT, after the save has succeeded. The event behind it must be
// found, and the others must not be tried with it for ever.
func TestDeferredConstraintStopsAtItsEvent(t *testing.T) {
	t.Parallel()
	for form, p := range forms("p", "insert into child values (-1)", nil) {
		for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
			t.Run(form+"/"+mode.String(), func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				b.exec("create table parent (n int primary key); create table child (n int references parent deferrable initially deferred)")
				stopped := b.stopsAt(p, rouse.Config{Retry: rouse.RetryPolicy{Tries: 2}, OnFailure: rouse.Stop}, mode)
				require.ErrorContains(t, stopped, "23503")
				require.Zero(t, b.int("select count(*) from child"))
			})
		}
	}
}

// Failures that have nothing to do with the handler do not count, however many there are.
func TestTransientFailuresAreNotCounted(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"40001", "40P01", "55P03"} {
		for form, p := range forms("p", "select flaky()", nil) {
			t.Run(state+"/"+form, func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				b.exec(`create sequence attempts`)
				b.exec(`create function flaky() returns void language plpgsql as $$ begin
					if nextval('attempts') <= 12 then raise 'not now' using errcode = '` + state + `'; end if; end $$`)
				at := b.appendAll("good", "bad", "good")
				require.NoError(t, b.drain(b.Pool, rouse.Config{Projections: []rouse.Projection{p}, Retry: rouse.RetryPolicy{Tries: 1}, OnFailure: rouse.Stop}))
				require.Equal(t, at, b.done("p"))
				require.EqualValues(t, 13, b.int("select last_value from attempts"))
			})
		}
	}
}

func TestHandlerTimeoutRollsBackAndCounts(t *testing.T) {
	t.Parallel()
	cfg := rouse.Config{HandlerTimeout: 200 * time.Millisecond, Retry: rouse.RetryPolicy{Tries: 2}, OnFailure: rouse.Stop}
	for form, p := range forms("p", "select pg_sleep(60)", nil) {
		t.Run("InTheDatabase/"+form, func(t *testing.T) {
			t.Parallel()
			stopped := setup(t).stopsAt(p, cfg, pgx.QueryExecModeCacheStatement)
			require.ErrorContains(t, stopped, "in time")
		})
	}
	t.Run("InGo", func(t *testing.T) {
		t.Parallel()
		p := projection{name: "p", hook: func(ctx context.Context, _ pgx.Tx, ev eventstore.Event) error {
			if ev.Type != "bad" {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		}}
		stopped := setup(t).stopsAt(p, cfg, pgx.QueryExecModeCacheStatement)
		require.ErrorContains(t, stopped, "in time")
		require.ErrorIs(t, stopped, context.DeadlineExceeded)
	})
}

func TestHandlerCannotEndItsTransaction(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(ctx context.Context, tx pgx.Tx) error{
		"Commit":   func(ctx context.Context, tx pgx.Tx) error { return tx.Commit(ctx) },
		"Rollback": func(ctx context.Context, tx pgx.Tx) error { return tx.Rollback(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := projection{name: "p", hook: func(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
				if ev.Type != "bad" {
					return nil
				}
				return end(ctx, tx)
			}}
			stopped := setup(t).stopsAt(p, rouse.Config{Retry: rouse.RetryPolicy{Tries: 1}, OnFailure: rouse.Stop}, pgx.QueryExecModeCacheStatement)
			require.ErrorContains(t, stopped, "must not commit or roll back")
		})
	}
}

// What a handler reads back from its batch comes when everything has been sent. If it does not like what it reads, nothing
// may have been committed.
func TestHandlerThatRefusesAResultOfItsBatchIsNotCommitted(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]func() error{
		"Error": func() error { return errBad },
		"Panic": func() error { panic("oh no") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			p := batched{
				projection: forms("p", "", func() error { return errBad })["ByEvent"].(projection),
				queue: func(batch *pgx.Batch, ev eventstore.Event) error {
					batch.Queue("select $1::text", ev.Type).QueryRow(func(row pgx.Row) error {
						var got string
						if err := row.Scan(&got); err != nil || got != "bad" {
							return err
						}
						return refuse()
					})
					return nil
				},
			}
			var f failures
			_ = b.stopsAt(p, rouse.Config{Retry: rouse.RetryPolicy{Tries: 1}, Observer: f.observer()}, pgx.QueryExecModeCacheStatement)
			require.Zero(t, f.fenced)
		})
	}
}
