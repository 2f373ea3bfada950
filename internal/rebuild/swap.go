package rebuild

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/db"
)

const (
	// barrierTime is how long a barrier stands without being renewed, and so how long the one of a swap that died does.
	barrierTime  = 5 * time.Second
	barrierRenew = time.Second

	// gentleTime is how long a swap waits for the shadow and the live one to stand at one position, or for the shadow to come to the end
	// of the log where nobody runs the live one. After that it is enough that the shadow is behind in no partition.
	gentleTime = time.Second

	// FirstTry and LongestTry are how long a swap tries, each time twice as long, and so for how long at most the live one is held at the
	// barrier. Who tries again lets it get on in between. The first suffices where a handler is quick; the longest is for a machine that has
	// no time.
	FirstTry   = 3 * time.Second
	LongestTry = 24 * time.Second

	// lookInterval is how often a swap reads the checkpoints.
	lookInterval = 20 * time.Millisecond

	// firstLock and longestLock are how long a try waits for the locks on the tables, each time twice as long: readers that come
	// meanwhile wait as long at most.
	firstLock   = 100 * time.Millisecond
	longestLock = time.Second
)

var (
	// ErrBehind means that the shadow did not come to where the live one stands.
	ErrBehind = errors.New("the shadow has not caught up with what is live")

	// ErrBusy means that another process is changing the projection at this moment.
	ErrBusy = errors.New("another process is changing the projection")

	// ErrLocked means that a transaction holds a table for so long that the places could not be changed.
	ErrLocked = errors.New("somebody holds a lock on one of the tables (look for a long transaction in pg_stat_activity)")
)

// Swapped is what a swap has done.
type Swapped struct {
	Live    string // the projection
	Version int    // that is live now
	Kept    string // the shadow that what was live goes on as; "": it is gone
}

// Swap puts a shadow into the place of the live projection, in one transaction: from its commit on the tables of the shadow have the names
// of the others, and the projection goes on from its checkpoints, in its version. Nobody sees a moment without tables, or an older state:
// under the locks of all tables and checkpoints, no partition of the shadow is behind. After a rebuild the old tables are gone; those of
// another version are kept, under a shadow of that version, which goes on where there are workers of it.
//
// Its error is a Refusal where trying again mends nothing, or ErrBehind, ErrBusy or ErrLocked, after the time of the try (FirstTry). Nothing
// has changed then.
func Swap(ctx context.Context, d db.DB, shadow string, try time.Duration) (Swapped, error) {
	found, err := Get(ctx, d, shadow)
	switch {
	case err != nil:
		return Swapped{}, err
	case !found.Ready:
		return Swapped{}, refuse("the tables of %s are not made yet (start a worker that has its version)", shadow)
	}
	s := &swap{d: d, shadow: shadow, live: found.Of, holder: eventstore.NewID().String(), began: time.Now(), lock: firstLock}
	ctx, cancel := context.WithTimeoutCause(ctx, try, ErrBehind)
	defer cancel()
	done, err := s.run(ctx)
	if err != nil {
		s.liftBarrier(ctx)
	}
	return done, err
}

// swap is one under way. Only how long it takes depends on the barrier: the change itself reads everything again under the locks.
type swap struct {
	d            db.DB
	shadow, live string
	holder       string
	began        time.Time
	lock         time.Duration // how long the next try waits for locks

	barrier, highest int64
	barred           bool
	renewed          time.Time
	locked           error // why the last try has not got its locks
}

func (s *swap) names() []string { return []string{s.live, s.shadow} }

// standing is what a swap depends on, at one moment.
type standing struct {
	equal, ahead bool
	highest, low int64 // of all checkpoints; of the shadow's
	comes        bool  // a worker brings the live one to the barrier
}

func (s *swap) run(ctx context.Context) (Swapped, error) {
	for {
		now, err := s.read(ctx, s.d)
		if err != nil {
			return Swapped{}, s.ended(ctx, err)
		}
		if s.ready(now) {
			done, err := s.change(ctx)
			if err == nil || !lockMissed(err) {
				return done, s.ended(ctx, err)
			}
			s.locked = ErrLocked
			s.lock = min(2*s.lock, longestLock)
		}
		if err := s.setBarrier(ctx, now); err != nil {
			return Swapped{}, s.ended(ctx, err)
		}
		wait := lookInterval
		if s.locked != nil {
			wait = 2 * s.lock // those who had to wait get on
		}
		if err := pause(ctx, wait); err != nil {
			return Swapped{}, s.ended(ctx, err)
		}
	}
}

// ready reports whether to try the change: both stand at one position, or the shadow at the end of the log where nobody runs the live one,
// or it is ahead at least, and that is all that can be had.
func (s *swap) ready(now standing) bool {
	switch {
	case now.comes && now.equal, !now.comes && s.barred && now.low >= s.barrier:
		return true
	}
	return now.ahead && time.Since(s.began) > gentleTime
}

// ended returns the reason for which a swap has not been done.
func (s *swap) ended(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
		if s.locked != nil && errors.Is(err, ErrBehind) {
			err = s.locked
		}
	}
	return err
}

// read reads the checkpoints from q, the pool or the transaction of the change.
func (s *swap) read(ctx context.Context, q interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
},
) (now standing, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	err = q.QueryRow(ctx, sqlCounts.For(s.d), s.live, s.shadow).Scan(&now.equal, &now.ahead, &now.highest, &now.low, &now.comes)
	return now, err
}

// setBarrier sets the barrier, renews it, and moves it on when an owner had passed it before noticing it and has stopped there.
func (s *swap) setBarrier(ctx context.Context, now standing) error {
	passed := now.highest > s.barrier && now.highest == s.highest
	s.highest = now.highest
	if s.barred && !passed && time.Since(s.renewed) < barrierRenew {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	return db.Tx(ctx, s.d, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, sqlBarrier.For(s.d), s.names(), s.holder, barrierTime.Milliseconds(), passed, !now.comes)
		if err != nil {
			return err
		}
		at, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil {
			return err
		}
		if len(at) < len(s.names()) {
			return ErrBusy // or one of them is gone
		}
		s.barred, s.renewed, s.barrier = true, time.Now(), at[0]
		return nil
	})
}

// liftBarrier takes the barrier away. If that fails, the barrier runs out.
func (s *swap) liftBarrier(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), barrierTime)
	defer cancel()
	_ = db.Exec(ctx, s.d, sqlLiftBarrier.For(s.d), s.names(), s.holder)
}

// proven is called between the proof and the change, by tests that try to come between.
var proven = func() {}

// lockMissed reports whether a try has failed for locks alone.
func lockMissed(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && (pgErr.Code == "55P03" || pgErr.Code == "40P01") // lock_not_available, deadlock_detected
}

// places are a shadow and the projection whose place it takes, as they are locked.
type places struct {
	live           string
	version, with  int
	partitions, of int
	old, new       []string // tables
	home, aside    string   // their schemas
	ready, busy    bool
}

// change makes the change in one transaction. The end of ctx does not interrupt it, so that its outcome is always known.
func (s *swap) change(ctx context.Context) (done Swapped, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statementTimeout)
	defer cancel()
	err = db.Tx(ctx, s.d, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "select set_config('lock_timeout', $1, true)", db.Milliseconds(s.lock)); err != nil {
			return err
		}
		p, err := s.lockAll(ctx, tx)
		if err != nil {
			return err
		}
		if err := s.look(ctx, tx, p); err != nil {
			return err
		}
		proven()
		done = Swapped{Live: p.live, Version: p.with}
		if p.version != p.with {
			done.Kept = NameOf(p.live, p.version)
		}
		if err := s.moveTables(ctx, tx, p, done.Kept); err != nil {
			return err
		}
		return s.moveRows(ctx, tx, p, done.Kept)
	})
	return done, rightsOf(db.Archived(err))
}

// lockAll locks the rows of both, the tables, for which it waits while the handlers and readers of them come to an end, and all
// checkpoints, in this order.
func (s *swap) lockAll(ctx context.Context, tx pgx.Tx) (p places, err error) {
	err = tx.QueryRow(ctx, sqlLockRows.For(s.d), s.shadow, s.holder).Scan(
		&p.live, &p.version, &p.with, &p.partitions, &p.of, &p.old, &p.new, &p.home, &p.aside, &p.ready, &p.busy)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return p, fmt.Errorf("%w: %s", ErrNoShadow, s.shadow)
	case err != nil:
		return p, err
	case p.busy:
		return p, ErrBusy
	case !p.ready || p.home == "":
		return p, refuse("the tables of %s are not known (start a worker that runs it)", s.shadow)
	case p.partitions != p.of:
		return p, refuse("%s has %d partitions and %s has %d (rouse projection resize %s --partitions %d)", p.live, p.partitions, s.shadow, p.of, s.shadow, p.partitions)
	}
	var all []string
	for _, t := range p.old {
		all = append(all, pgx.Identifier{p.home, t}.Sanitize())
	}
	for _, t := range p.new {
		all = append(all, pgx.Identifier{p.aside, t}.Sanitize())
	}
	if _, err := tx.Exec(ctx, "lock table "+strings.Join(all, ", ")+" in access exclusive mode"); err != nil {
		return p, err
	}
	_, err = tx.Exec(ctx, sqlLockCheckpoints.For(s.d), s.names())
	return p, err
}

// look proves, under all locks, that the shadow may take the place.
func (s *swap) look(ctx context.Context, tx pgx.Tx, p places) error {
	now, err := s.read(ctx, tx)
	if err != nil {
		return err
	}
	if !now.ahead {
		return ErrBehind
	}
	var parked, deferred int64
	if err := tx.QueryRow(ctx, sqlParked.For(s.d), p.live, s.shadow).Scan(&parked, &deferred); err != nil {
		return err
	}
	if parked > 0 {
		return fmt.Errorf("%s has set %d events aside that %s has handled (rouse parked list --projection %s shows them: retry or discard them)", s.shadow, parked, p.live, s.shadow)
	}
	if deferred > 0 {
		return fmt.Errorf("%d events wait in %s for the time that its handler has named, and %s has handled them, as a replay"+
			" (let a worker of %s handle them: rouse parked retry --projection %s; or discard them)", deferred, p.live, s.shadow, p.live, p.live)
	}
	if p.version != p.with {
		var rebuilt bool // read by tx, because another connection may not be free while the tables are locked
		if err := tx.QueryRow(ctx, sqlRebuilt.For(s.d), NameOf(p.live, 0)).Scan(&rebuilt); err != nil {
			return err
		}
		if rebuilt {
			return refuse("version %d of %s is being rebuilt (rouse projection rebuild %s --cancel)", p.version, p.live, p.live)
		}
	}
	if len(p.old) == 0 {
		return nil
	}
	var tables []uint32
	rows, err := tx.Query(ctx, "select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relname = any ($2::text[])", p.home, p.old)
	if err == nil {
		tables, err = pgx.CollectRows(rows, pgx.RowTo[uint32])
	}
	if err != nil {
		return err
	}
	return replaceable(ctx, tx, tables)
}

// moveTables puts the tables of the shadow where the live ones were. These are dropped, or kept in the schema of another shadow.
func (s *swap) moveTables(ctx context.Context, tx pgx.Tx, p places, kept string) error {
	quoted := func(schema, table string) string { return pgx.Identifier{schema, table}.Sanitize() }
	if kept != "" {
		aside := SchemaFor(db.SchemaOf(s.d), kept)
		if err := makeSchema(ctx, tx, aside); err != nil {
			return err
		}
		for _, t := range p.old {
			if _, err := tx.Exec(ctx, "alter table "+quoted(p.home, t)+" set schema "+pgx.Identifier{aside}.Sanitize()); err != nil {
				return err
			}
		}
	} else if len(p.old) > 0 {
		var old []string
		for _, t := range p.old {
			old = append(old, quoted(p.home, t))
		}
		if _, err := tx.Exec(ctx, "drop table "+strings.Join(old, ", ")); err != nil {
			return err
		}
	}
	for _, t := range p.new {
		if _, err := tx.Exec(ctx, "alter table "+quoted(p.aside, t)+" set schema "+pgx.Identifier{p.home}.Sanitize()); err != nil {
			return err
		}
	}
	return dropSchema(ctx, tx, p.aside)
}

// dropSchema drops a schema that is empty by now, if the role may: another role has made it otherwise.
func dropSchema(ctx context.Context, tx pgx.Tx, name string) error {
	var there, full, own bool
	if err := tx.QueryRow(ctx, sqlSchema.In(""), name).Scan(&there, &full, &own); err != nil || !there || full || !own {
		return err
	}
	_, err := tx.Exec(ctx, "drop schema "+pgx.Identifier{name}.Sanitize())
	return err
}

// moveRows gives the projection what the shadow has: checkpoints, parked events, attempts, version.
func (s *swap) moveRows(ctx context.Context, tx pgx.Tx, p places, kept string) error {
	var batch pgx.Batch
	var to *string
	if kept != "" {
		to = &kept
		batch.Queue(sqlKeep.For(s.d), p.live, kept, SchemaFor(db.SchemaOf(s.d), kept))
	}
	for _, move := range []*db.Statement{sqlMoveParked, sqlMoveAttempts} {
		batch.Queue(move.For(s.d), p.live, to)
		batch.Queue(move.For(s.d), s.shadow, p.live)
	}
	batch.Queue(sqlTakeCheckpoints.For(s.d), p.live, s.shadow)
	batch.Queue(sqlTakePlace.For(s.d), p.live, p.with, p.new)
	batch.Queue(sqlGone.For(s.d), s.shadow)
	batch.Queue(sqlTell.For(s.d), db.SchemaOf(s.d))
	return tx.SendBatch(ctx, &batch).Close()
}
