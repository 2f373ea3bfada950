package db

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ErrPoolBusy means that all connections of the pool were in use for as long as the worker waited for one. It says nothing
// about the database, nor about any event.
var ErrPoolBusy = errors.New("no connection of the pool was free")

// answerTimeout is how long a database may take to answer that is not to pass for a silent one.
const answerTimeout = 2 * time.Second

// Acquirer is a pool.
type Acquirer interface {
	Acquire(ctx context.Context) (*pgxpool.Conn, error)
}

// Acquire takes a connection from pool within Timeout; release it. The pool pings one that was idle without a limit of its
// own, and one that went silent never answers, hence the limit here. The error wraps ErrPoolBusy if none was free.
func Acquire(ctx context.Context, pool Acquirer) (*pgxpool.Conn, error) {
	began := time.Now()
	if end, has := ctx.Deadline(); !has || end.Sub(began) > Timeout { // mostly the statement has no longer, and needs no second timer
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, Timeout)
		defer cancel()
	}
	conn, err := pool.Acquire(ctx)
	if err == nil || !errors.Is(err, context.DeadlineExceeded) {
		return conn, err
	}
	waited := time.Since(began)
	if p, is := pool.(full); is && p.Stat().AcquiredConns() >= p.Config().MaxConns && answers(ctx, p.Config()) {
		return nil, &busyError{connections: p.Config().MaxConns, waited: waited, cause: err}
	}
	return nil, err
}

// full is what a pool tells of itself.
type full interface {
	Stat() *pgxpool.Stat
	Config() *pgxpool.Config
}

// answers reports whether the database answers on a connection beside the pool, be it with a refusal. A pool cannot tell: its
// connections are in use too while they wait for a database that is silent.
func answers(ctx context.Context, cfg *pgxpool.Config) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTimeout)
	defer cancel()
	conn, err := besideOf(cfg).Dial(ctx, nil)
	if err == nil {
		_ = conn.Close(ctx)
		return true
	}
	var refused *pgconn.PgError
	return errors.As(err, &refused)
}

// busyError is the ErrPoolBusy of one wait.
type busyError struct {
	connections int32
	waited      time.Duration
	cause       error
}

func (e *busyError) Error() string {
	return fmt.Sprintf("%v for %s: it has %d, and all of them are in use; a handler that queries the pool beside its transaction holds one more"+
		" (give the pool more: MaxConns of its configuration, pool_max_conns in its address)", ErrPoolBusy, e.waited.Round(100*time.Millisecond), e.connections)
}

// Unwrap returns the class of the error, and what the pool said.
func (e *busyError) Unwrap() []error { return []error{ErrPoolBusy, e.cause} }

// Cut closes a connection whose result is not read to its end. The server notices when it sends on.
func Cut(conn *pgxpool.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second) // for the farewell, which does not wait for an answer
	defer cancel()
	_ = conn.Conn().Close(ctx)
}
