package partition

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// ResizeTimeout is how long Resize waits if its context says nothing.
	ResizeTimeout = time.Minute

	// barrierTime is how long a barrier holds without being renewed, and so how long a Resize that died holds a projection up.
	barrierTime  = 5 * time.Second
	barrierRenew = time.Second

	// barrierNotice is what owners get to notice a barrier before it counts; they look every 100 ms, a little less often where
	// there are many of them.
	barrierNotice = 300 * time.Millisecond

	// resizeInterval is how often a Resize looks whether it can go on.
	resizeInterval = 100 * time.Millisecond

	// gentleTime is how long a doubling waits for batches in hand. It could go on at once; the batches would be rolled back,
	// which projections do not feel, but effects outside the database would be done again.
	gentleTime = 5 * time.Second
)

var (
	// ErrNoProjection means that no projection of that name has ever run here.
	ErrNoProjection = errors.New("partition: there is no such projection")

	// ErrResizing means that somebody else is changing the number of partitions at this moment.
	ErrResizing = errors.New("partition: the number of partitions is being changed by somebody else")

	// ErrUneven means that partitions cannot be joined, because their checkpoints differ and did not become equal in time.
	// Nothing has changed.
	ErrUneven = errors.New("partition: partitions that are to be joined stand at different positions")

	// ErrResized means that a projection has another number of partitions by now than the claim is for. Look again.
	ErrResized = errors.New("partition: the number of partitions has changed")
)

// Resize changes the number of partitions of a projection to a power of two from 1 to 1024, while its workers run, and returns
// the number that it had. Nothing is handled twice and nothing is left out: where partitions are split, each part goes on from
// the checkpoint of the whole; partitions are joined only at one common checkpoint. To bring that about, their owners are held
// at the furthest checkpoint of all until the others are there too, which takes a fraction of a second where all are at the
// end of the log.
//
// It waits until ctx ends, or ResizeTimeout if ctx has no deadline, and then returns an error that wraps ErrUneven and says
// which partitions it has waited for. One that is killed holds its projection up for 5 seconds more at most. Where no worker
// runs, partitions can always be split, but only joined if their checkpoints happen to be equal.
func Resize(ctx context.Context, pool *pgxpool.Pool, projection string, partitions int) (from int, err error) {
	if !valid(partitions) {
		return 0, fmt.Errorf("%w, and %d is not", ErrCount, partitions)
	}
	if _, has := ctx.Deadline(); !has {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, ResizeTimeout)
		defer cancel()
	}
	r := &resize{pool: pool, projection: projection, to: partitions, holder: randomUUID(), began: time.Now()}
	from, err = r.run(ctx)
	for _, own := range []error{ErrNoProjection, ErrResizing, ErrUneven} {
		if errors.Is(err, own) {
			return from, err
		}
	}
	if err != nil {
		return from, fmt.Errorf("partition: change the number of partitions of %s: %w", projection, err)
	}
	return from, nil
}

func valid(partitions int) bool {
	return partitions >= 1 && partitions <= 1024 && partitions&(partitions-1) == 0
}

// randomUUID names the holder of a barrier.
func randomUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// resize is one change under way. Nothing depends on the barrier but how long it takes: the change itself looks again under
// the locks of all checkpoints.
type resize struct {
	pool       *pgxpool.Pool
	projection string
	to         int
	holder     string
	began      time.Time

	held    bool // a barrier was set
	barrier int64
	renewed time.Time
	moved   time.Time // when the barrier was last put where it stands
	highest int64     // the highest checkpoint, as last looked
}

// stage is how the projection stands, for the change.
type stage struct {
	Partitions        int
	Stopped           bool
	Members           int
	Even, Still       bool // the checkpoints that would be joined are equal; all are
	Highest, TopEpoch int64
}

func (r *resize) run(ctx context.Context) (from int, err error) {
	defer func() {
		if r.held && err != nil {
			r.lift(ctx)
		}
	}()
	for {
		now, err := r.look(ctx, r.pool)
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
		if err := r.hold(ctx, now); err != nil {
			return from, r.ended(ctx, err)
		}
		select {
		case <-ctx.Done():
			return from, r.ended(ctx, context.Cause(ctx))
		case <-time.After(resizeInterval):
		}
	}
}

// ready tells whether to try. A doubling is always possible, and waits only for the sake of effects.
func (r *resize) ready(now stage) bool {
	noticed := now.Members == 0 || r.held && time.Since(r.moved) >= barrierNotice
	if r.to < now.Partitions {
		return noticed && now.Even
	}
	return r.to == now.Partitions || now.Members == 0 || noticed && now.Still || time.Since(r.began) > gentleTime
}

// possible tells whether waiting can help.
func (r *resize) possible(now stage) error {
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

type queryRower interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func (r *resize) look(ctx context.Context, q queryRower) (now stage, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	err = q.QueryRow(ctx, sqlResizeLook, r.projection, r.to).Scan(&now.Partitions, &now.Stopped, &now.Members,
		&now.Even, &now.Still, &now.Highest, &now.TopEpoch)
	if errors.Is(err, pgx.ErrNoRows) {
		return now, fmt.Errorf("%w: %s", ErrNoProjection, r.projection)
	}
	return now, err
}

// hold sets the barrier, renews it, and moves it on when somebody had passed it before seeing it and has stopped there.
func (r *resize) hold(ctx context.Context, now stage) error {
	passed := now.Highest > r.barrier && now.Highest == r.highest
	r.highest = now.Highest
	if r.held && !passed && time.Since(r.renewed) < barrierRenew {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	r.renewed = time.Now()
	before := r.barrier
	err := r.pool.QueryRow(ctx, sqlResizeHold, r.projection, r.holder, barrierTime.Milliseconds(), passed).Scan(&r.barrier)
	if errors.Is(err, pgx.ErrNoRows) {
		return errBusy
	}
	if err == nil && (!r.held || r.barrier != before) {
		r.held, r.moved = true, time.Now()
	}
	return err
}

var errBusy = fmt.Errorf("%w (wait for it; if it was killed, for %s)", ErrResizing, barrierTime)

// lift takes the barrier away. If that fails it runs out.
func (r *resize) lift(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), barrierTime)
	defer cancel()
	_, _ = r.pool.Exec(ctx, sqlResizeLift, r.projection, r.holder)
}

// change does it, in one transaction that holds the projection and all its checkpoints, if that is possible under these
// locks; done tells. The end of ctx does not break into it, so that its outcome is always known.
func (r *resize) change(ctx context.Context) (done bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statementTimeout)
	defer cancel()
	err = durably(ctx, r.pool, func(tx pgx.Tx) error {
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
			_, err = tx.Exec(ctx, sqlResizeSplit, r.projection, now.Partitions, r.to)
		} else {
			_, err = tx.Exec(ctx, sqlResizeJoin, r.projection, r.to)
		}
		if err != nil {
			return err
		}
		var batch pgx.Batch
		batch.Queue(sqlResizeRaise, r.projection, now.TopEpoch+1)
		batch.Queue(sqlResizeFinish, r.projection, r.to)
		done = true
		return tx.SendBatch(ctx, &batch).Close()
	})
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Code == "55P03" { // lock_not_available: a save takes long
		return false, nil
	}
	return done, err
}

// locked takes all locks and then looks, in this order.
func (r *resize) locked(ctx context.Context, tx pgx.Tx) (stage, error) {
	var have, checkpoints int
	var busy bool
	if err := tx.QueryRow(ctx, sqlResizeLock, r.projection, r.holder).Scan(&have, &busy); err != nil {
		return stage{}, err
	}
	if busy {
		return stage{}, errBusy
	}
	var made int
	if err := tx.QueryRow(ctx, sqlEnsureCheckpoints, r.projection).Scan(&have, &made); err != nil {
		return stage{}, err
	}
	if err := tx.QueryRow(ctx, sqlResizeLockAll, r.projection).Scan(&checkpoints); err != nil {
		return stage{}, err
	}
	return r.look(ctx, tx)
}
