package reliability_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/rouse-es/rouse/eventstore"
)

const (
	appenderCount = 8
	// aggregatesEach is how many aggregates an appender has at a time.
	aggregatesEach = 200
	// appendTimeout bounds one transaction of an appender; a connection that is cut off costs it this long.
	appendTimeout = 2 * time.Second
	// ownName is the application name of the sessions of the test itself, which nobody terminates.
	ownName = "soak"
)

// appenders write events through two ways to the server: half of them directly and half through a proxy.
type appenders struct {
	record  *record
	watch   *watcher
	hostile *hostility // nil: all events are alike
	wg      sync.WaitGroup
	stop    context.CancelFunc

	perSecond atomic.Int64 // events, of all appenders
	calm      atomic.Bool  // only aggregates without bad events get any
}

// startAppenders starts them, until halt or the end of the test. perSecond is how many events they append in all.
func startAppenders(t testing.TB, seed uint64, perSecond int, r *record, w *watcher, h *hostility, ways ...string) *appenders {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	as := &appenders{record: r, watch: w, hostile: h, stop: cancel}
	as.perSecond.Store(int64(perSecond))
	for i := range appenderCount {
		a := &appender{
			appenders: as, url: ways[i%len(ways)], number: i, rng: rand.New(rand.NewPCG(seed, uint64(i))),
		}
		as.wg.Go(func() {
			if err := a.run(ctx); err != nil {
				t.Errorf("appender %d: %v", a.number, err)
			}
		})
	}
	t.Cleanup(as.halt)
	return as
}

// halt stops the appenders and waits for the end of what they have begun.
func (as *appenders) halt() {
	as.stop()
	as.wg.Wait()
}

// stream is an aggregate as its appender sees it.
type stream struct {
	id      string
	slot    int16 // -1 before its first append
	version int64 // the last that was acknowledged
}

// attempt is an append to one stream.
type attempt struct {
	*stream
	began time.Time
	size  int64
}

func (at attempt) last() int64 { return at.version + at.size }

// appender writes to aggregates of its own, on one connection.
type appender struct {
	*appenders
	url    string
	number int
	rng    *rand.Rand

	conn    *pgx.Conn // nil while there is none
	streams []*stream
	made    int       // how many streams it has made
	due     time.Time // of the next transaction
}

// run appends until ctx ends. It returns an error only for what no fault explains.
func (a *appender) run(ctx context.Context) error {
	for range aggregatesEach {
		a.streams = append(a.streams, a.newStream())
	}
	a.due = time.Now()
	for ctx.Err() == nil {
		at := attempt{stream: a.choose(), size: a.size()}
		a.pace(ctx, at.size)
		if err := a.append(ctx, at); err != nil {
			return err
		}
	}
	a.disconnect()
	return nil
}

// choose is the stream of the next transaction. Streams come and go where some are hostile, because those stand still
// once they have an event that stays bad.
func (a *appender) choose() *stream {
	s := a.streams[a.rng.IntN(len(a.streams))]
	if a.hostile == nil {
		return s
	}
	if a.rng.IntN(100) == 0 {
		a.replace(s)
		return a.choose()
	}
	if a.calm.Load() && a.hostile.hostile(s.id) {
		return a.choose()
	}
	return s
}

// size is how many events a transaction has: a few, and one in twenty is an import.
func (a *appender) size() int64 {
	if a.rng.IntN(20) == 0 {
		return 100 + a.rng.Int64N(200)
	}
	return 1 + a.rng.Int64N(8)
}

func (a *appender) newStream() *stream {
	a.made++
	return &stream{id: fmt.Sprintf("a%d-%d", a.number, a.made), slot: -1}
}

// pace waits until the next transaction is due. What an outage has delayed is made up, up to five seconds of it.
func (a *appender) pace(ctx context.Context, events int64) {
	if late := time.Now().Add(-5 * time.Second); a.due.Before(late) {
		a.due = late
	}
	a.due = a.due.Add(time.Duration(events) * time.Second * appenderCount / time.Duration(a.perSecond.Load()))
	pause(ctx, time.Until(a.due))
}

// append makes one transaction. If its commit was not answered, it is either made again, under the same ids, or left open for
// ever, and its aggregate with it.
func (a *appender) append(ctx context.Context, at attempt) error {
	for again := false; ; again = true {
		err := a.transaction(at, again)
		var unknown *unansweredError
		switch {
		case err == nil:
			return nil
		case errors.Is(err, errBroken):
			return err
		case errors.As(err, &unknown) && a.rng.IntN(2) == 0:
			a.record.leaveOpen(at.id, at.last())
			a.replace(at.stream)
			return nil
		case errors.As(err, &unknown):
			again = true
		case !again: // it is certain that nothing was committed
			return nil
		}
		if ctx.Err() != nil {
			a.record.leaveOpen(at.id, at.last())
			a.replace(at.stream)
			return nil
		}
		pause(ctx, 20*time.Millisecond+time.Duration(a.rng.Int64N(int64(80*time.Millisecond))))
	}
}

func (a *appender) replace(s *stream) {
	for i := range a.streams {
		if a.streams[i] == s {
			a.streams[i] = a.newStream()
		}
	}
}

var (
	// errBroken is an error that no fault explains.
	errBroken = errors.New("the appender met what no fault explains")
	// errRolledBack is the end of a transaction that the appender has rolled back.
	errRolledBack = errors.New("rolled back on purpose")
)

// unansweredError is a commit that was sent and not answered.
type unansweredError struct{ cause error }

func (e *unansweredError) Error() string { return "the commit was not answered: " + e.cause.Error() }
func (e *unansweredError) Unwrap() error { return e.cause }

// transaction appends in one transaction. again says that the same append may have succeeded before. It has a deadline of its
// own: whether a commit that was sent is answered must not depend on the end of the test.
func (a *appender) transaction(at attempt, again bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), appendTimeout)
	defer cancel()
	positions, slot, err := a.tryTransaction(ctx, &at, again)
	switch {
	case err == nil:
		at.slot = slot
		at.version = at.last()
		a.record.acknowledge(at.id, at.version)
		for _, position := range positions {
			a.watch.appended(at.began, position, at.slot)
		}
	case errors.Is(err, errRolledBack):
	default:
		a.record.failed(reason(err))
		a.disconnect()
	}
	return err
}

func (a *appender) tryTransaction(ctx context.Context, at *attempt, again bool) (positions []int64, slot int16, err error) {
	if err := a.connect(ctx); err != nil {
		return nil, 0, err
	}
	if again {
		there, err := a.isThere(ctx, *at)
		if err != nil || there {
			return nil, at.slot, err
		}
	}
	at.began = time.Now()
	tx, err := a.conn.Begin(ctx)
	if err != nil {
		return nil, 0, err
	}
	positions, slot, err = a.fill(ctx, tx, *at)
	if err != nil {
		return nil, 0, a.judge(err, again)
	}
	if !again && a.rng.IntN(20) == 0 {
		return nil, 0, errors.Join(errRolledBack, tx.Rollback(ctx))
	}
	if err := tx.Commit(ctx); err != nil {
		return nil, 0, &unansweredError{err}
	}
	return positions, slot, nil
}

// isThere tells whether the first attempt was committed. The slot of a new aggregate is still unknown then, and stays so.
func (a *appender) isThere(ctx context.Context, at attempt) (bool, error) {
	var ids []string
	for v := at.version + 1; v <= at.last(); v++ {
		ids = append(ids, idOf(at.id, v).String())
	}
	var found int64
	if err := a.conn.QueryRow(ctx, statement("found"), ids).Scan(&found); err != nil {
		return false, err
	}
	if found != 0 && found != at.size {
		return false, fmt.Errorf("%w: %d of the %d events of one append to %s", errBroken, found, at.size, at.id)
	}
	return found > 0, nil
}

// judge says what an error of an append means. A conflict is explained only by the first attempt, which may have been
// committed between the look and the second one.
func (a *appender) judge(err error, again bool) error {
	var pgErr *pgconn.PgError
	conflict := errors.Is(err, eventstore.ErrConflict) || errors.Is(err, eventstore.ErrDuplicateID) ||
		errors.As(err, &pgErr) && pgErr.Code == "23505"
	if conflict && !again {
		return fmt.Errorf("%w: %w", errBroken, err)
	}
	return err
}

// fill appends the events in one of three ways. Only the plain statement says which slot an aggregate has, so it comes first.
func (a *appender) fill(ctx context.Context, tx pgx.Tx, at attempt) (positions []int64, slot int16, err error) {
	way := a.rng.IntN(4)
	switch {
	case at.slot < 0 || way < 2:
		return a.fillByStatement(ctx, tx, at)
	case way == 2:
		return nil, at.slot, a.fillByCopy(ctx, tx, at)
	}
	var events []eventstore.NewEvent
	for v := at.version + 1; v <= at.last(); v++ {
		events = append(events, eventstore.NewEvent{ID: idOf(at.id, v), Type: typeOf(v), Payload: json.RawMessage(a.hostile.payload(at.id, v))})
	}
	appended, err := eventstore.Append(ctx, tx, eventstore.Stream{Type: "soak", ID: at.id}, eventstore.Exact(at.version), events...)
	return appended.Positions, at.slot, err
}

func (a *appender) fillByStatement(ctx context.Context, tx pgx.Tx, at attempt) (positions []int64, slot int16, err error) {
	var versions []int64
	var ids, types, payloads []string
	for v := at.version + 1; v <= at.last(); v++ {
		versions, ids, types = append(versions, v), append(ids, idOf(at.id, v).String()), append(types, typeOf(v))
		payloads = append(payloads, a.hostile.payload(at.id, v))
	}
	rows, err := tx.Query(ctx, statement("append"), at.id, versions, ids, types, payloads)
	if err != nil {
		return nil, 0, err
	}
	var position int64
	_, err = pgx.ForEachRow(rows, []any{&position, &slot}, func() error {
		positions = append(positions, position)
		return nil
	})
	return positions, slot, err
}

func (a *appender) fillByCopy(ctx context.Context, tx pgx.Tx, at attempt) error {
	columns := []string{"aggregate_type", "aggregate_id", "aggregate_version", "event_id", "event_type", "payload"}
	v := at.version
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"events"}, columns, pgx.CopyFromFunc(func() ([]any, error) {
		if v == at.last() {
			return nil, nil
		}
		v++
		return []any{"soak", at.id, v, pgtype.UUID{Bytes: idOf(at.id, v), Valid: true}, typeOf(v), a.hostile.payload(at.id, v)}, nil
	}))
	return err
}

// connect opens the connection if there is none.
func (a *appender) connect(ctx context.Context) (err error) {
	if a.conn != nil {
		return nil
	}
	a.conn, err = pgx.Connect(ctx, a.url)
	return err
}

// disconnect gives the connection up.
func (a *appender) disconnect() {
	if a.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = a.conn.Close(ctx)
	a.conn = nil
}

// reason is an error in two words, to count it.
func reason(err error) string {
	var pgErr *pgconn.PgError
	kind := "connection"
	if errors.As(err, &pgErr) {
		kind = pgErr.Code
	} else if errors.Is(err, context.DeadlineExceeded) {
		kind = "silence"
	}
	var unknown *unansweredError
	if errors.As(err, &unknown) {
		return "commit: " + kind
	}
	return kind
}

// pause waits, or returns when ctx is cancelled.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
