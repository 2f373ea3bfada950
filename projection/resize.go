package projection

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/partition"
)

const (
	// ResizeTimeout is how long Resize waits if its context says nothing.
	ResizeTimeout = time.Minute

	// barrierTime is how long a barrier stands without being renewed, and so how long the one of a Resize that died does.
	barrierTime  = 5 * time.Second
	barrierRenew = time.Second

	// barrierNotice is the time that owners get to notice a barrier before it counts: they are told, and where nothing tells them
	// they look every 100 ms while there are events, less often among many.
	barrierNotice = 300 * time.Millisecond

	// resizeInterval is how often a Resize reads the counts again.
	resizeInterval = 100 * time.Millisecond

	// gentleTime is how long a doubling waits for batches in hand. Without the wait these would be rolled back, which does no
	// harm to projections, but effects outside the database would be done again.
	gentleTime = 5 * time.Second
)

// Resize changes the number of partitions of a projection to a power of two from 1 to 1024, while its workers run, and returns
// the number that it had. Nothing is handled twice and nothing is left out: where partitions are split, each part goes on from
// the checkpoint of the whole; partitions are joined only at one common checkpoint. To bring that about, a barrier stops their
// owners at the furthest checkpoint of all until the others are there too, which takes a fraction of a second where all are at
// the end of the log.
//
// It waits until ctx ends, or ResizeTimeout if ctx has no deadline, and then returns an error that wraps ErrUneven and names
// the partitions that it has waited for. The barrier of a Resize that is killed ends within 5 seconds. Where no worker runs,
// partitions can always be split, but only joined if their checkpoints happen to be equal.
func Resize(ctx context.Context, pool *pgxpool.Pool, name string, partitions int) (from int, err error) {
	if err := partition.CheckCount(partitions); err != nil {
		return 0, err
	}
	if _, has := ctx.Deadline(); !has {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, ResizeTimeout)
		defer cancel()
	}
	r := &resize{pool: pool, name: name, to: partitions, holder: eventstore.NewID().String(), began: time.Now()}
	from, err = r.run(ctx)
	for _, own := range []error{ErrNoProjection, ErrResizing, ErrUneven} {
		if errors.Is(err, own) {
			return from, became(ctx, pool, name, err)
		}
	}
	if err != nil {
		return from, fmt.Errorf("projection: change the number of partitions of %s: %w", name, err)
	}
	return from, nil
}

// resize is one change under way. Only how long it takes depends on the barrier: the change itself reads the counts again under
// the locks of all checkpoints.
type resize struct {
	pool   *pgxpool.Pool
	name   string
	to     int
	holder string // a new id, which marks the barrier as this change's
	began  time.Time

	barred  bool // the barrier was set
	barrier int64
	renewed time.Time
	moved   time.Time // when the barrier was last put where it stands
	highest int64     // the highest checkpoint that was read last
}

// counts is what a change depends on, at one moment.
type counts struct {
	Partitions        int
	Stopped           bool
	Members           int
	Even, Still       bool // the checkpoints that would be joined are equal; all are
	Highest, TopEpoch int64
}

func (r *resize) run(ctx context.Context) (from int, err error) {
	defer func() {
		if r.barred && err != nil {
			r.liftBarrier(ctx)
		}
	}()
	for {
		now, err := r.read(ctx, r.pool)
		if err != nil {
			return from, r.ended(ctx, err)
		}
		from = now.Partitions
		if r.ready(now) {
			if done, err := r.change(ctx); err != nil || done {
				return from, r.ended(ctx, err)
			}
		} else if err := r.possible(now); err != nil {
			return from, err
		}
		if err := r.setBarrier(ctx, now); err != nil {
			return from, r.ended(ctx, err)
		}
		select {
		case <-ctx.Done():
			return from, r.ended(ctx, context.Cause(ctx))
		case <-time.After(resizeInterval):
		}
	}
}

// ready reports whether to try the change. A doubling is always possible, and waits only for the sake of effects.
func (r *resize) ready(now counts) bool {
	noticed := now.Members == 0 || r.barred && time.Since(r.moved) >= barrierNotice
	if r.to < now.Partitions {
		return noticed && now.Even
	}
	return r.to == now.Partitions || now.Members == 0 || noticed && now.Still || time.Since(r.began) > gentleTime
}

// possible returns nil if waiting can help, and else an error that says what to do.
func (r *resize) possible(now counts) error {
	switch {
	case r.to > now.Partitions || now.Even:
		return nil
	case now.Stopped:
		return fmt.Errorf("%w, and the projection is stopped (mend what has stopped it and start its workers again)", ErrUneven)
	case now.Members == 0:
		return fmt.Errorf("%w, and no worker runs to bring them together (start one, then try again)", ErrUneven)
	}
	return nil
}

// read reads the counts from db, the pool or the transaction of the change.
func (r *resize) read(ctx context.Context, db partition.Querier) (now counts, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	err = db.QueryRow(ctx, sqlResizeCounts, r.name, r.to).Scan(&now.Partitions, &now.Stopped, &now.Members,
		&now.Even, &now.Still, &now.Highest, &now.TopEpoch)
	if errors.Is(err, pgx.ErrNoRows) {
		return now, fmt.Errorf("%w: %s", ErrNoProjection, r.name)
	}
	return now, err
}

// setBarrier sets the barrier, renews it, and moves it on when an owner had passed it before noticing it and has stopped there.
func (r *resize) setBarrier(ctx context.Context, now counts) error {
	passed := now.Highest > r.barrier && now.Highest == r.highest
	r.highest = now.Highest
	if r.barred && !passed && time.Since(r.renewed) < barrierRenew {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	r.renewed = time.Now()
	before := r.barrier
	err := r.pool.QueryRow(ctx, sqlResizeBarrier, r.name, r.holder, barrierTime.Milliseconds(), passed).Scan(&r.barrier)
	if errors.Is(err, pgx.ErrNoRows) {
		return errBusy
	}
	if err == nil && (!r.barred || r.barrier != before) {
		r.barred, r.moved = true, time.Now()
	}
	return err
}

var errBusy = fmt.Errorf("%w (wait for it; if it was killed, for %s)", ErrResizing, barrierTime)

// liftBarrier takes the barrier away. If that fails, the barrier runs out.
func (r *resize) liftBarrier(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), barrierTime)
	defer cancel()
	_, _ = r.pool.Exec(ctx, sqlResizeLiftBarrier, r.name, r.holder)
}

// change makes the change in one transaction, under the locks of the projection and all its checkpoints, and reports whether
// it was possible under these locks. The end of ctx does not interrupt it, so that its outcome is always known.
func (r *resize) change(ctx context.Context) (done bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statementTimeout)
	defer cancel()
	err = db.Tx(ctx, r.pool, func(tx pgx.Tx) error {
		done = false
		now, err := r.locked(ctx, tx)
		switch {
		case err != nil:
			return err
		case now.Partitions == r.to:
			done = true
			return nil
		case !now.Even:
			return nil
		}
		if now.Partitions < r.to {
			_, err = tx.Exec(ctx, sqlResizeSplit, r.name, now.Partitions, r.to)
		} else {
			_, err = tx.Exec(ctx, sqlResizeJoin, r.name, r.to)
		}
		if err != nil {
			return err
		}
		var batch pgx.Batch
		batch.Queue(sqlResizeRaise, r.name, now.TopEpoch+1)
		batch.Queue(sqlResizeFinish, r.name, r.to)
		done = true
		return tx.SendBatch(ctx, &batch).Close()
	})
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Code == "55P03" { // lock_not_available: a save takes long
		return false, nil
	}
	return done, err
}

// locked takes all locks and then reads the counts, in this order.
func (r *resize) locked(ctx context.Context, tx pgx.Tx) (counts, error) {
	var have, checkpoints int
	var busy bool
	if err := tx.QueryRow(ctx, sqlResizeLock, r.name, r.holder).Scan(&have, &busy); err != nil {
		return counts{}, err
	}
	if busy {
		return counts{}, errBusy
	}
	if _, err := partition.EnsureCheckpoints(ctx, tx, r.name); err != nil {
		return counts{}, err
	}
	if err := tx.QueryRow(ctx, sqlResizeLockAll, r.name).Scan(&checkpoints); err != nil {
		return counts{}, err
	}
	return r.read(ctx, tx)
}
