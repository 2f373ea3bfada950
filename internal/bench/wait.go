package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
)

// WaitOptions say how much to measure.
type WaitOptions struct {
	Program  string        // runs SubjectCommand
	Waiters  []int         // how many append and wait at once, each a row of its own; each at least 1
	Rounds   int           // how often all of them do
	Interval time.Duration // between two rounds
}

// WaitResult is how long it takes until a WaitFor has returned, beside how long it takes until the event is handled.
type WaitResult struct {
	Bench    string    `json:"bench"` // wait
	Server   Server    `json:"server"`
	Rounds   int       `json:"rounds"`
	Interval float64   `json:"interval_ms"`
	Rows     []WaitRow `json:"rows"`
}

// WaitRow is one number of waiters. All times are from the acknowledged commits of the appends.
type WaitRow struct {
	Waiters int         `json:"waiters"`
	Alone   Percentiles `json:"alone"`   // until handled and committed, while nobody waits
	Handled Percentiles `json:"handled"` // the same of the events that are waited for
	Waited  Percentiles `json:"waited"`  // until WaitFor has returned, in another process than the worker's
	Ratio   Ratio       `json:"ratio"`   // Waited over Handled

	// Statements is how many statements the waiting process sent for each wait, begin, commit and settings included.
	Statements float64 `json:"statements_per_wait"`

	// Listening is how many connections it listened on.
	Listening int64 `json:"listening"`
}

// subjectProjection is the first projection of a subject that runs Live.
var subjectProjection = subjectName(0)

// waitName is how the connections of the waiters call themselves.
const waitName = "rouse bench wait"

// Wait has so many wait at once for the events that each has appended.
func (b *Bench) Wait(ctx context.Context, o WaitOptions) (r WaitResult, err error) {
	r = WaitResult{Bench: "wait", Server: b.server, Rounds: o.Rounds, Interval: float64(o.Interval) / float64(time.Millisecond)}
	s, err := b.startSubject(ctx, o.Program, "live", "1")
	if err != nil {
		return r, err
	}
	defer func() {
		s.Dismiss()
		_, endErr := s.end()
		err = errors.Join(err, endErr)
	}()
	if err := s.await(ctx, "its start", func() bool { return s.said.Ready }); err != nil {
		return r, err
	}
	total := int64(2 * len(o.Waiters))
	for i, n := range o.Waiters {
		if err := b.subjectAsleep(ctx); err != nil {
			return r, err
		}
		row := WaitRow{Waiters: n}
		alone, err := b.waitRounds(ctx, o, s, n, nil)
		if err != nil {
			return r, err
		}
		b.cfg.Progress(int64(2*i+1), total)
		row.Alone = PercentilesOf(alone.handled)
		waited, err := b.waitRow(ctx, o, s, n, &row)
		if err != nil {
			return r, err
		}
		row.Handled, row.Waited = PercentilesOf(waited.handled), PercentilesOf(waited.waited)
		row.Ratio = row.Waited.Over(row.Handled)
		r.Rows = append(r.Rows, row)
		b.cfg.Progress(int64(2*i+2), total)
	}
	return r, nil
}

// waitTimes are the times of events.
type waitTimes struct{ handled, waited []time.Duration }

// waitRow measures with waiters.
func (b *Bench) waitRow(ctx context.Context, o WaitOptions, s *subject, waiters int, row *WaitRow) (t waitTimes, err error) {
	w := &wire{}
	cfg := b.cfg.Connect.Copy()
	cfg.MaxConns = poolSize
	cfg.ConnConfig.RuntimeParams["application_name"] = waitName
	w.on(cfg.ConnConfig)
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return t, err
	}
	defer pool.Close()
	waiter := rouse.NewWaiter(pool, rouse.WaiterConfig{})
	defer waiter.Close()
	warm := o
	warm.Rounds = 5
	if _, err := b.waitRounds(ctx, warm, s, waiters, waiter); err != nil { // it connects, and the worker is asked for the first time
		return t, err
	}
	before, _ := w.read()
	if t, err = b.waitRounds(ctx, o, s, waiters, waiter); err != nil {
		return t, err
	}
	after, _ := w.read()
	row.Statements = float64(after.minus(before).all()) / float64(max(len(t.waited), 1))
	row.Listening, err = b.number(ctx, "select count(*) from pg_stat_activity where application_name = $1 and query like 'listen %'", waitName)
	return t, err
}

// waitRounds appends from so many connections at once, round by round, and waits with waiter, nil: with none.
func (b *Bench) waitRounds(ctx context.Context, o WaitOptions, s *subject, waiters int, waiter *rouse.Waiter) (t waitTimes, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(o.Rounds)*o.Interval+subjectWithin)
	defer cancel()
	b.round++
	conns, err := b.connectMany(ctx, waiters)
	defer closeAll(conns)
	if err != nil {
		return t, err
	}
	var mu sync.Mutex // protects committed, t and errs
	committed := map[int64]int64{}
	var errs []error
	began := time.Now()
	for round := range o.Rounds {
		if err := until(ctx, began.Add(time.Duration(round)*o.Interval)); err != nil {
			return t, err
		}
		var all sync.WaitGroup
		for n, conn := range conns {
			all.Go(func() {
				position, at, took, err := appendAndWait(ctx, conn, waiter, fmt.Sprintf("wait %d %d", b.round, n), round+1)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					errs = append(errs, err)
					return
				}
				committed[position] = at.UnixNano()
				t.waited = append(t.waited, took)
			})
		}
		all.Wait()
		if len(errs) > 0 {
			return t, errors.Join(errs...)
		}
	}
	err = s.await(ctx, "all events to be handled", func() bool {
		t.handled = t.handled[:0]
		for position, at := range committed {
			settled, known := s.settled[position]
			if !known {
				return false
			}
			t.handled = append(t.handled, max(time.Duration(settled-at), time.Microsecond))
		}
		return true
	})
	return t, err
}

// appendAndWait appends one event, waits for it, and returns when it was committed and how long the wait took from then on.
func appendAndWait(ctx context.Context, conn *pgx.Conn, waiter *rouse.Waiter, aggregate string, version int) (position int64, at time.Time, took time.Duration, err error) {
	a := eventstore.Appended{Positions: make([]int64, 1)}
	if err := conn.QueryRow(ctx, sqlAppendWaited, aggregate, version).Scan(&a.Positions[0], &a.Slot); err != nil {
		return 0, at, 0, err
	}
	at = time.Now()
	if waiter != nil {
		err = waiter.WaitFor(ctx, subjectProjection, a)
	}
	return a.Positions[0], at, time.Since(at), err
}
