package rouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/await"
	"github.com/rouse-es/rouse/internal/db"
)

// Why a wait has ended without what was waited for. Each is wrapped with the name of the projection.
var (
	// ErrParked means that an event that was waited for has failed for good and waits for people, or stands behind such a one of its
	// aggregate. The read model is without it until an operator has it tried again.
	ErrParked = await.ErrParked

	// ErrPaused means that an operator has paused the projection before it came that far.
	ErrPaused = await.ErrPaused

	// ErrStopped means that an event or a condition has stopped the projection before it came that far, and that no worker goes on with it.
	ErrStopped = await.ErrStopped

	// ErrNoProjection means that there is no projection of this name: no worker has run it yet, or it was dropped.
	ErrNoProjection = await.ErrNoProjection
)

// WaitFor returns nil once projection has handled the events of some appends, so that whoever reads its read model finds them in it. Call
// it after the append has committed, from any process that reaches the database; none of the workers need run there.
//
// It takes about as long as the handling: a worker tells with its save how far it has come, and nobody asks in a loop. Give ctx a
// deadline, because a projection whose worker does not run is waited for, too; the error is that of ctx then, with what was waited for.
// ErrParked, ErrPaused, ErrStopped and ErrNoProjection come as soon as they are known, and mean that waiting longer is in vain.
// An event that was skipped counts as handled, and so does one of a type that the projection does not handle. One that failed and is tried
// again is waited for, and so is one that its handler wants at a time and no earlier (NotBefore), until it has been handled then. A reset that
// an operator has asked for is waited for.
//
// Of each append only Slot and Positions count, so they may be kept, in a cookie for example, and be waited for by another process.
//
// All calls with one pool share one connection beside it, which is kept for a few seconds after the last call, and one statement
// where several have to look. Where LISTEN is not possible there (a pooler in transaction mode), the calls look every 5 to 250 ms; a
// Waiter can have an address of its own to listen on, and a schema.
func WaitFor(ctx context.Context, pool *pgxpool.Pool, projection string, appends ...eventstore.Appended) error {
	return shared(pool, func(w *Waiter) error { return w.WaitFor(ctx, projection, appends...) })
}

// WaitForHead returns nil once projection has handled all events that were visible when it was called, in all of its partitions. Events that
// were set aside are not waited for. Its errors, and everything else, are as those of WaitFor.
func WaitForHead(ctx context.Context, pool *pgxpool.Pool, projection string) error {
	return shared(pool, func(w *Waiter) error { return w.WaitForHead(ctx, projection) })
}

// WaitForPosition returns nil once projection has handled all events up to a position of the log, in all of its partitions. Where there is
// no event that high yet, it waits for one. Everything else is as with WaitForHead.
func WaitForPosition(ctx context.Context, pool *pgxpool.Pool, projection string, position int64) error {
	return shared(pool, func(w *Waiter) error { return w.WaitForPosition(ctx, projection, position) })
}

// WaiterConfig configures a Waiter. The zero value is usable.
type WaiterConfig struct {
	// Schema holds Rouse's tables. "": the search_path of the pool's connections finds them.
	Schema string

	// ListenConn returns the settings of the connection to listen on, as Config.ListenConn does. nil: those of the pool.
	ListenConn func(ctx context.Context) (*pgx.ConnConfig, error)
}

// Waiter waits for projections, as WaitFor does. It keeps its connection until Close, so that the first call after a pause need not open one.
// Its methods may be called by many goroutines.
type Waiter struct{ hub *await.Hub }

// NewWaiter returns a Waiter that looks through pool, which it does not close. It connects when it is first used.
func NewWaiter(pool *pgxpool.Pool, cfg WaiterConfig) *Waiter {
	return &Waiter{hub: await.NewHub(db.In(pool, cfg.Schema), db.Beside(pool, cfg.ListenConn))}
}

// Close ends the calls that wait, with an error, and closes the connection.
func (w *Waiter) Close() { w.hub.Close() }

// WaitFor is described with the function WaitFor.
func (w *Waiter) WaitFor(ctx context.Context, projection string, appends ...eventstore.Appended) error {
	targets := make([]await.Target, 0, len(appends))
	for _, a := range appends {
		if len(a.Positions) == 0 || a.Positions[0] < 1 || !slices.IsSorted(a.Positions) || a.Slot < 0 || a.Slot >= slots {
			return fmt.Errorf("rouse: wait for projection %s: %w", projection, errAppended)
		}
		targets = append(targets, await.Target{Projection: projection, Slot: int(a.Slot), Positions: a.Positions, Last: a.LastPosition()})
	}
	if len(targets) == 1 {
		return w.hub.Wait(ctx, targets[0])
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	errs := make([]error, len(targets))
	for i, target := range targets {
		// Owned by WaitFor, which waits below.
		all.Go(func() {
			if errs[i] = w.hub.Wait(ctx, target); errs[i] != nil {
				cancel()
			}
		})
	}
	all.Wait()
	return first(errs)
}

// errAppended means that what is waited for is not what an append has returned.
var errAppended = errors.New("an append has a slot from 0 to 1023 and rising positions from 1 on (pass on what eventstore.Append has returned)")

// slots is how many there are.
const slots = 1024

// first returns the first of errs that is not the end of the others' context.
func first(errs []error) (err error) {
	for _, one := range errs {
		if one != nil && (err == nil || errors.Is(err, context.Canceled)) {
			err = one
		}
	}
	return err
}

// WaitForHead is described with the function WaitForHead.
func (w *Waiter) WaitForHead(ctx context.Context, projection string) error {
	return w.hub.Wait(ctx, await.Target{Projection: projection, Slot: await.AllSlots, Last: await.Head})
}

// WaitForPosition is described with the function WaitForPosition.
func (w *Waiter) WaitForPosition(ctx context.Context, projection string, position int64) error {
	if position < 0 {
		return fmt.Errorf("rouse: wait for projection %s: position %d is below 0, the beginning of the log", projection, position)
	}
	return w.hub.Wait(ctx, await.Target{Projection: projection, Slot: await.AllSlots, Last: position})
}

// linger is how long the Waiter of a pool stays after the last call, and lingerLook how often it is looked whether the pool has closed all
// of its connections meanwhile: then nobody will call again.
const (
	linger     = 10 * time.Second
	lingerLook = 100 * time.Millisecond
)

// waiters are those of the functions, by pool.
var waiters = struct {
	sync.Mutex
	of map[*pgxpool.Pool]*lingering
}{of: map[*pgxpool.Pool]*lingering{}}

// lingering is the Waiter of a pool. The mutex of waiters protects it.
type lingering struct {
	*Waiter
	calls int
	left  time.Time   // when the last call ended
	end   *time.Timer // looks whether to close the Waiter; nil while there are calls
}

// shared calls wait with the Waiter of pool, which is closed when nobody has used it for a while.
func shared(pool *pgxpool.Pool, wait func(*Waiter) error) error {
	waiters.Lock()
	l := waiters.of[pool]
	if l == nil {
		l = &lingering{Waiter: NewWaiter(pool, WaiterConfig{})}
		waiters.of[pool] = l
	}
	l.calls++
	if l.end != nil {
		l.end.Stop()
		l.end = nil
	}
	waiters.Unlock()
	defer func() {
		waiters.Lock()
		defer waiters.Unlock()
		if l.calls--; l.calls == 0 {
			l.left = time.Now()
			l.end = time.AfterFunc(lingerLook, func() { l.look(pool) })
		}
	}()
	return wait(l.Waiter)
}

// look closes l if nobody has called for long, or nobody will.
func (l *lingering) look(pool *pgxpool.Pool) {
	waiters.Lock()
	if l.calls > 0 || l.end == nil || waiters.of[pool] != l {
		waiters.Unlock()
		return
	}
	if time.Since(l.left) < linger && pool.Stat().TotalConns() > 0 {
		l.end.Reset(lingerLook)
		waiters.Unlock()
		return
	}
	delete(waiters.of, pool)
	waiters.Unlock()
	l.Close()
}
