package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
)

const (
	// busyTurns is how often each side has its turn in one step.
	busyTurns = 4
)

// stamps are the times of events, by position. The first half of an event's latency is known to a writer, the other to a worker.
type stamps struct {
	mu       sync.Mutex // protects the fields below
	step     int        // that the next events belong to
	appended map[int64]appended
	handled  map[int64]time.Time
	writing  []time.Duration // how long each append took
}

// appended is what a writer knows of an event.
type appended struct {
	at   time.Time
	step int
}

func newStamps() *stamps {
	return &stamps{appended: map[int64]appended{}, handled: map[int64]time.Time{}}
}

func (s *stamps) append(position int64, began, committed time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.appended[position] = appended{committed, s.step}
	s.writing = append(s.writing, committed.Sub(began))
}

// next begins another step.
func (s *stamps) next() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.step++
}

func (s *stamps) handle(positions []int64, committed time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range positions {
		s.handled[p] = committed
	}
}

// took are the latencies of what was handled.
func (s *stamps) took() (all []time.Duration) {
	for _, of := range s.steps() {
		all = append(all, of...)
	}
	return all
}

// steps are the latencies of what was handled, by step.
func (s *stamps) steps() (all [][]time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all = make([][]time.Duration, s.step+1)
	for p, a := range s.appended {
		if at, handled := s.handled[p]; handled {
			// An effect can be committed before the writer has heard of its own commit. That counts as the least there is.
			all[a.step] = append(all[a.step], max(at.Sub(a.at), time.Microsecond))
		}
	}
	return all
}

// busySide is one side under writers.
type busySide struct {
	appendSQL string
	args      func(writer int) []any // of the writer's next event
	stamps    *stamps
	// turn runs the side while do is under way, and until it has everything.
	turn  func(ctx context.Context, do func() error) error
	rate  float64 // the sum of the turns' rates
	loses bool    // it passes over what commits out of order
}

// writing has the percentiles of the appends.
func (s *busySide) writing() *Percentiles {
	p := PercentilesOf(s.stamps.writing)
	return &p
}

// busy lets writers append at a rate, on schedule and whether events are handled or not; the sides take turns by time.
func (b *Bench) busy(ctx context.Context, writers int, s *LatencyStep, total int64) error {
	conns, err := b.connectMany(ctx, writers)
	defer closeAll(conns)
	if err != nil {
		return err
	}
	b.round++
	name, err := b.atEnd(ctx)
	if err != nil {
		return err
	}
	floor, ours, alone := b.busyFloor(), b.busyRouse(name, writers), b.busyAlone(writers)
	each := max(s.Events/busyTurns, 1)
	s.Events = each * busyTurns
	for range busyTurns {
		for _, side := range []*busySide{floor, ours, alone} {
			err := side.turn(ctx, func() error {
				rate, err := paced(ctx, conns, side, s.Rate, each)
				side.rate += rate
				return err
			})
			if err != nil {
				return err
			}
		}
		b.timed += int64(each)
		b.cfg.Progress(min(b.timed, total), total)
	}
	s.Appended, s.FloorAppended, s.AloneAppended = ours.rate/busyTurns, floor.rate/busyTurns, alone.rate/busyTurns
	s.Append, s.FloorAppend, s.AloneAppend = ours.writing(), floor.writing(), alone.writing()
	return b.busyResult(ctx, s, floor.stamps, ours.stamps)
}

// busyResult checks what was handled, and takes the percentiles.
func (b *Bench) busyResult(ctx context.Context, s *LatencyStep, floor, ours *stamps) (err error) {
	for like, count := range map[string]*int64{oursID + "%": &s.Handled, floorID: &s.FloorHandled} {
		if *count, err = b.counted(ctx, like); err != nil {
			return err
		}
	}
	floorTook, took := floor.took(), ours.took()
	if s.Handled != int64(s.Events) || len(took) != s.Events || int64(len(floorTook)) != s.FloorHandled || len(floorTook) == 0 {
		return fmt.Errorf("%w: of %d events, Rouse has handled %d and the floor %d", ErrUnhandled, s.Events, s.Handled, s.FloorHandled)
	}
	s.Floor, s.Rouse = PercentilesOf(floorTook), PercentilesOf(took)
	return nil
}

// busyFloor runs the loop written by hand. What it does not find it has lost.
func (b *Bench) busyFloor() *busySide {
	side := &busySide{appendSQL: sqlAppendFloor, args: func(int) []any { return []any{floorID} }, stamps: newStamps(), loses: true}
	side.turn = func(ctx context.Context, do func() error) (err error) {
		loop, err := b.startFloor(ctx, floorOptions{seen: side.stamps.handle})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, loop.stop()) }()
		if err := do(); err != nil {
			return err
		}
		return side.stamps.settle(ctx, loop.ended)
	}
	return side
}

// settle waits until the floor has handled the last event that was appended, for it passes over others only. What is missing then it
// has lost. ended is closed when the floor's loop has ended.
func (s *stamps) settle(ctx context.Context, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, longTimeout)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !s.hasLast() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("bench: the floor did not handle the last event: %w", ctx.Err())
		case <-ended:
			return errEnded
		case <-tick.C:
		}
	}
	return nil
}

// hasLast reports whether the event with the highest position is handled, or there is none.
func (s *stamps) hasLast() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := int64(0)
	for position := range s.appended {
		last = max(last, position)
	}
	_, handled := s.handled[last]
	return handled || last == 0
}

// busyAlone runs nothing: nobody reads what is appended, until the next turn of a worker.
func (b *Bench) busyAlone(writers int) *busySide {
	return &busySide{
		appendSQL: sqlAppendEvent, args: ownAggregates(fmt.Sprint("alone", b.round, "-"), writers), stamps: newStamps(),
		turn: func(_ context.Context, do func() error) error { return do() },
	}
}

// ownAggregates has an aggregate for each writer, whose versions only that writer counts.
func ownAggregates(prefix string, writers int) func(writer int) []any {
	versions := make([]int, writers)
	return func(writer int) []any {
		versions[writer]++
		return []any{fmt.Sprint(prefix, writer), versions[writer]}
	}
}

// busyRouse runs a worker with the projection of that name.
func (b *Bench) busyRouse(name string, writers int) *busySide {
	side := &busySide{appendSQL: sqlAppendEvent, args: ownAggregates(fmt.Sprint(oursID, b.round, "-"), writers), stamps: newStamps()}
	observer := rouse.Observer{Committed: func(_ string, events []eventstore.Event) {
		at := time.Now()
		positions := make([]int64, len(events))
		for i := range events {
			positions[i] = events[i].GlobalPosition
		}
		side.stamps.handle(positions, at)
	}}
	side.turn = func(ctx context.Context, do func() error) (err error) {
		worker, err := b.start(ctx, counts{name}, observer)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, worker.stop()) }()
		if err := worker.asleep(ctx); err != nil {
			return err
		}
		if err := do(); err != nil {
			return err
		}
		return worker.Drain(ctx)
	}
	return side
}

// connectMany opens so many connections. The caller closes what it gets, whatever the error.
func (b *Bench) connectMany(ctx context.Context, n int) (conns []*pgx.Conn, err error) {
	for range n {
		conn, err := b.connect(ctx)
		if err != nil {
			return conns, err
		}
		conns = append(conns, conn)
	}
	return conns, nil
}

func closeAll(conns []*pgx.Conn) {
	for _, conn := range conns {
		closeConn(conn)
	}
}

// paced appends so many events from all connections, the nth of all at n/rate after the start or as soon after that as its
// writer can, and returns the rate that it came to.
func paced(ctx context.Context, conns []*pgx.Conn, side *busySide, rate float64, events int) (float64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(conns))
	var all sync.WaitGroup
	began := time.Now()
	for w, conn := range conns {
		all.Go(func() {
			for n := w; n < events; n += len(conns) {
				if errs[w] = until(ctx, began.Add(time.Duration(float64(n)/rate*float64(time.Second)))); errs[w] == nil {
					errs[w] = appendOne(ctx, conn, side, w)
				}
				if errs[w] != nil {
					cancel()
					return
				}
			}
		})
	}
	all.Wait()
	return PerSecond(int64(events), time.Since(began)), errors.Join(errs...)
}

func appendOne(ctx context.Context, conn *pgx.Conn, side *busySide, writer int) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	var position int64
	began := time.Now()
	if err := conn.QueryRow(ctx, side.appendSQL, side.args(writer)...).Scan(&position); err != nil {
		return err
	}
	side.stamps.append(position, began, time.Now())
	return nil
}

// until sleeps until a time.
func until(ctx context.Context, when time.Time) error {
	wait := time.NewTimer(time.Until(when))
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
