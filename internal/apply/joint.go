package apply

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/db"
)

const (
	// jointParts, jointRows and jointSum bound a joint transaction: its parts, their checkpoints and their statements; jointEvents and
	// jointStatements are the events and the statements of one part. Larger batches gain nothing by it, and would keep the others waiting.
	jointParts      = 64
	jointRows       = 512
	jointSum        = 200
	jointEvents     = 100
	jointStatements = 100

	// jointLock and jointStatement are how long a statement may wait for a lock in it, and how long it may take.
	jointLock      = 25 * time.Millisecond
	jointStatement = 50 * time.Millisecond

	// jointTime is how long all of it may take, and jointSlow from when on all rest behind it: what is one after the other in it is beside
	// each other without it.
	jointTime = 10 * jointStatement
	jointSlow = 5 * jointStatement

	// jointsAtOnce is how many are under way.
	jointsAtOnce = 2

	// jointYields is how often who goes lets others go first that can run: those whom the same event has woken come along. It takes
	// microseconds where there is nobody.
	jointYields = 4

	// firstJointRest and longestJointRest are the pauses of all behind one that has failed without anybody's being seen to be the cause.
	firstJointRest   = 100 * time.Millisecond
	longestJointRest = 10 * time.Second
)

// Joint makes one transaction of the batches that several projections of a process have in hand at the same time: begin, the statements of
// each, one save of all checkpoints, commit. It is an optimisation and nothing else: whatever goes wrong in it rolls it back, and then
// everybody goes by himself, with the time, the tries and the judgement that he would have had without. A batch that was in the way stays
// apart for a while.
//
// Nobody waits for company. Who finds no other under way goes at once, with all who are there; who comes meanwhile goes with the next.
// There is no goroutine: who goes takes the others along, and hands over to one of those who have come since.
//
// Its methods may be called by many goroutines.
type Joint struct {
	tx   transactions
	rest apart // of all

	mu      sync.Mutex // protects the fields below
	of      map[string]*apart
	running int
	waiting []*part
}

// NewJoint returns a Joint for pool, whose transactions commit without waiting for the disk if async; nil if nobody may go together, because
// one text may be several statements in the mode in which pool sends them, or a pooler deals out the sessions.
func NewJoint(pool *db.Pool, presence int32, async bool) *Joint {
	if pool.Config().ConnConfig.DefaultQueryExecMode != pgx.QueryExecModeCacheStatement {
		return nil
	}
	return &Joint{tx: transactions{pool: pool, async: async, presence: presence, restores: &atomic.Bool{}}, of: map[string]*apart{}}
}

// apart returns that of a projection; nil where nobody goes together.
func (j *Joint) apart(projection string) *apart {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	a := j.of[projection]
	if a == nil {
		a = &apart{}
		j.of[projection] = a
	}
	return a
}

// part is what one projection has in hand.
type part struct {
	queued []*pgx.QueuedQuery
	save   catchup.Save
	saved  *catchup.Saved // written if it was saved
	tell   telling
	apart  *apart
	turn   chan turn // buffered to 1, so that nobody waits for who has left
}

// turn is what one who waits is told: that he goes, or what has become of his part.
type turn struct{ lead, saved bool }

// part returns the part of a batch of events whose statements are queued, nil if it has to go by itself.
func (j *Joint) part(events []eventstore.Event, queued []*pgx.QueuedQuery, end txEnd, t *transactions, a *apart) *part {
	switch {
	case j == nil || len(events) > jointEvents || len(queued) > jointStatements || len(end.save.Fences) > jointRows:
		return nil
	case len(end.forget)+len(end.park)+len(end.done) > 0, end.save.AtSpots():
		return nil
	case t.restores.Load() || t.async != j.tx.async || slices.ContainsFunc(queued, mustGoAlone):
		return nil
	case a.is() || j.rest.is():
		return nil
	}
	ask(queued)
	return &part{queued: queued, save: end.save, saved: end.at, tell: end.tell, apart: a, turn: make(chan turn, 1)}
}

// commit handles and saves p, together with others. It reports whether that is done; if not, nothing of p has been.
func (j *Joint) commit(ctx context.Context, p *part) (done bool) {
	j.mu.Lock()
	if j.running == jointsAtOnce {
		j.waiting = append(j.waiting, p)
		j.mu.Unlock()
		if t := <-p.turn; !t.lead {
			return t.saved
		}
		j.mu.Lock()
	} else {
		j.running++
	}
	j.mu.Unlock()
	for range jointYields {
		runtime.Gosched()
	}
	j.mu.Lock()
	group := append([]*part{p}, j.take(p)...)
	j.mu.Unlock()
	done = j.run(ctx, group)
	j.pass()
	for _, other := range group[1:] {
		other.turn <- turn{saved: done}
	}
	return done
}

// take takes those who may go with p, of each projection one. The caller holds the mutex.
func (j *Joint) take(p *part) (taken []*part) {
	left, rows, statements := j.waiting[:0], len(p.save.Fences), len(p.queued)
	of := map[string]bool{p.save.Projection: true} // the rows of two lanes would not be in order
	for _, other := range j.waiting {
		if len(taken) < jointParts-1 && rows+len(other.save.Fences) <= jointRows && statements+len(other.queued) <= jointSum &&
			!of[other.save.Projection] && other.save.Alike(p.save) {
			taken = append(taken, other)
			rows, statements, of[other.save.Projection] = rows+len(other.save.Fences), statements+len(other.queued), true
		} else {
			left = append(left, other)
		}
	}
	clear(j.waiting[len(left):])
	j.waiting = left
	return taken
}

// pass hands over to one who waits.
func (j *Joint) pass() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.waiting) == 0 {
		j.running--
		return
	}
	next := j.waiting[0]
	j.waiting = slices.Delete(j.waiting, 0, 1)
	next.turn <- turn{lead: true}
}

// run makes one transaction of group, whose locks are taken in the order of projections and partitions, as in every process. It reports
// whether it has committed. If it is not known, it has not: the fences of who then goes by himself know better. It goes on where ctx, which is
// that of one of them, ends.
func (j *Joint) run(ctx context.Context, group []*part) bool {
	group = slices.SortedStableFunc(slices.Values(group), func(a, b *part) int { return cmp.Compare(a.save.Projection, b.save.Projection) })
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), jointTime)
	defer cancel()
	pass, err := db.Enter(ctx, j.tx.pool)
	if err != nil {
		return false
	}
	defer pass.Leave()
	conn, err := j.tx.acquire(ctx)
	if err != nil {
		return false
	}
	began := time.Now()
	w, blamed, err := j.send(ctx, conn, group)
	if err != nil {
		err = outage{err} // whose fault it is shows when each goes by himself
	}
	err = j.tx.release(ctx, conn, w, err)
	if err == nil {
		if time.Since(began) > jointSlow {
			j.rest.stay(firstJointRest, longestJointRest, true)
		} else {
			j.rest.joined()
		}
		for _, p := range group {
			p.apart.joined()
		}
		return true
	}
	if len(blamed) == 0 {
		j.rest.stay(firstJointRest, longestJointRest, true)
	}
	for _, p := range blamed {
		p.apart.stay(firstApart, longestApart, false)
	}
	return false
}

// send sends the transaction of group on conn. With an error come the parts whose statement has failed, if it was one.
func (j *Joint) send(ctx context.Context, conn *pgxpool.Conn, group []*part) (w *working, blamed []*part, err error) {
	var batch pgx.Batch
	w = &working{name: name(), limit: db.Milliseconds(jointStatement), restores: j.tx.restores}
	queueBegin(&batch)
	w.settings = j.tx.queueSettings(&batch)
	own("the settings of a transaction", batch.Queue(sqlJoint.In(""), db.Milliseconds(jointLock)))
	if err := j.tx.look(ctx, w, conn.Conn()); err != nil {
		return w, nil, err
	}
	j.tx.set(w.settings, conn.Conn(), settings{limit: w.limit, idle: db.Milliseconds(saveTimeout), name: w.name, path: w.path})
	if j.tx.pool.Path() != "" { // it begins apart, as runPipelined does
		if err := conn.SendBatch(ctx, &batch).Close(); err != nil {
			return w, nil, err
		}
		batch = pgx.Batch{}
	}
	sent := make([][]*pgx.QueuedQuery, len(group))
	for i, p := range group {
		for _, q := range p.queued {
			mine := *q // the part may have to go by itself yet
			mine.Fn = func(results pgx.BatchResults) error {
				_, err := results.Exec()
				if err != nil {
					blamed = []*part{p}
				}
				return err
			}
			sent[i] = append(sent[i], &mine)
		}
		batch.QueuedQueries = append(batch.QueuedQueries, sent[i]...)
	}
	saved := j.queueEnd(&batch, group, w)
	err = conn.SendBatch(ctx, &batch).Close()
	if errors.Is(err, catchup.ErrEnded) { // somebody has left something on the session, or had before
		_ = conn.Conn().Close(ctx)
	}
	if err != nil {
		if blamed == nil && !conn.Conn().IsClosed() { // a connection that breaks is no statement's fault
			blamed = unprepared(group, sent, err)
		}
		return w, blamed, err
	}
	for i, p := range group {
		*p.saved = (*saved)[i]
	}
	return w, nil, nil
}

// queueEnd queues the save of group and the commit. It returns where the rows are, once their results are read.
func (j *Joint) queueEnd(batch *pgx.Batch, group []*part, w *working) *[]catchup.Saved {
	saves := make(catchup.JointSave, len(group))
	for i, p := range group {
		saves[i] = p.save
	}
	saves[0].Work, saves[0].Wait = w.name, jointLock
	w.after = w.before // or the save raises
	saved := new([]catchup.Saved)
	saves.Queue(batch, catchup.Session{Role: w.before.role, Path: cmp.Or(w.path, w.before.path)}).Fn = func(results pgx.BatchResults) (err error) {
		*saved, err = saves.Scan(results.QueryRow())
		return err
	}
	for _, p := range group {
		if p.tell.asked.Replying() {
			exec(p.tell.queue(batch, p.save, false)) // what was set aside goes by itself
		}
	}
	batch.Queue("commit").Fn = func(results pgx.BatchResults) error {
		tag, err := results.Exec()
		if err == nil && tag.String() != "COMMIT" {
			return errEndedByHandler
		}
		return err
	}
	w.queueLeft(batch)
	return saved
}

// unprepared returns the parts of a statement that the server did not prepare or that had no form to be sent in, of those that were sent
// for each of group; none if err says nothing of the kind.
func unprepared(group []*part, sent [][]*pgx.QueuedQuery, err error) (blamed []*part) {
	var early pgx.ErrPreprocessingBatch
	if !errors.As(err, &early) {
		return nil
	}
	for i, p := range group {
		if slices.ContainsFunc(sent[i], func(q *pgx.QueuedQuery) bool { return q.SQL == early.SQL() }) {
			blamed = append(blamed, p)
		}
	}
	return blamed
}

// exec gives q a reader that returns the statement's own error, so that it is not taken for that of another.
func exec(q *pgx.QueuedQuery) {
	q.Fn = func(results pgx.BatchResults) error {
		_, err := results.Exec()
		return err
	}
}
