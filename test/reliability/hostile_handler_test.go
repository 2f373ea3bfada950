package reliability_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
)

const (
	// hostileTimeout is how long a call of a hostile handler may take: longer than the server is frozen.
	hostileTimeout = 2 * time.Second
	// hostileTries and hostilePause have an event that stays bad wait for people after about six seconds.
	hostileTries, hostilePause = 10, 100 * time.Millisecond
	// hangsFor is how long one hangs that does not mind its limit, beyond the two seconds after which it is given up.
	hangsFor = hostileTimeout + 4*time.Second
	// slowest is how long a slow one takes at most, and at least a quarter of it.
	slowest = 120 * time.Millisecond
	// exitStatus is the one with which a handler ends its process.
	exitStatus = 77
)

// enemy is what the hostile handlers of a process have in common.
type enemy struct {
	*hostility
	worker string // label
}

// before is what happens in a handler before its work with an event. It may not come back. state is "", or the SQLSTATE that
// a statement of the handler has to answer, or one of the troubles that need another statement.
func (e enemy) before(ctx context.Context, handler string, ev eventstore.Event) (ask trouble, err error) {
	met := e.meets(handler, ev)
	switch met {
	case good, huge:
	case slow:
		least := slowest / 4
		pause(ctx, least+time.Duration(e.number("slow", ev.ID.String())%uint64(slowest-least)))
	case fails:
		return good, errors.New("an error of the handler")
	case permanent:
		return good, rouse.Permanent(errors.New("a permanent error of the handler"))
	case panics:
		panic("a panic of the handler")
	case goexit:
		runtime.Goexit()
	case hangs:
		<-ctx.Done()
		return good, ctx.Err()
	case hangsOn:
		pause(context.WithoutCancel(ctx), hangsFor)
		return good, errors.New("the handler has come back too late")
	case exits:
		_ = appendTo(e.path(exitsFile), fmt.Appendf(nil, "%s %d\n", e.worker, time.Now().UnixNano()))
		os.Exit(exitStatus)
	case strange:
		return good, otherDatabase(e.number("state", ev.ID.String()))
	default: // of the database
		return met, nil
	}
	return good, nil
}

// otherDatabase is an error of a database that is not the worker's: what it says is not said of the worker's.
func otherDatabase(n uint64) error {
	states := []string{"57P01", "53300", "08006", "40001", "25006", "53200", "58030", "42501"}
	return fmt.Errorf("the warehouse: %w", &pgconn.PgError{Severity: "FATAL", Code: states[n%uint64(len(states))], Message: "an error of another database"})
}

// hostileRecorder is a recorder that has trouble with some events.
type hostileRecorder struct {
	recorder
	enemy
}

func (r hostileRecorder) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	ask, err := r.before(ctx, projectionName, ev)
	if err != nil {
		return err
	}
	if sql, args := asking(ask); sql != "" {
		if _, err := tx.Exec(ctx, sql, args...); err != nil || ask == rollsBack {
			return err // what a handler writes where no transaction is any longer is its own affair
		}
	}
	return r.recorder.Apply(ctx, tx, ev)
}

func (r hostileRecorder) ApplyBatch(ctx context.Context, batch *pgx.Batch, events []eventstore.Event) error {
	for _, ev := range events {
		ask, err := r.before(ctx, projectionName, ev)
		if err != nil {
			return err
		}
		if sql, args := asking(ask); sql != "" {
			batch.Queue(sql, args...)
		}
	}
	return r.recorder.ApplyBatch(ctx, batch, events)
}

// asking is the statement that makes a trouble in the database, "" if there is none.
func asking(t trouble) (sql string, args []any) {
	switch t {
	case rollsBack:
		return "rollback", nil
	case serializes:
		return statement("raise"), []any{"40001"}
	case isLocked:
		return statement("raise"), []any{"55P03"}
	case endsItself:
		return statement("end_itself"), nil
	}
	return "", nil
}

// hostileBills is the effect that has trouble with some events, and whose service is away at times.
type hostileBills struct {
	bills
	enemy
}

func (hostileBills) StartFrom() rouse.Start { return rouse.Beginning }

func (b hostileBills) Do(ctx context.Context, ev eventstore.Event) error {
	switch word, err := os.ReadFile(b.path(awayFile)); {
	case err != nil: // it is not there
	case string(word) == saysAway:
		return rouse.Unavailable(errors.New("the service is away"))
	default:
		return errors.New("connection refused")
	}
	switch ask, err := b.before(ctx, effectName, ev); {
	case err != nil:
		return err
	case ask != good:
		return otherDatabase(b.number("state", ev.ID.String()))
	}
	return b.bills.Do(ctx, ev)
}
