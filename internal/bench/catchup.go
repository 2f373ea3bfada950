package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/scaling"
)

// historyAggregates is how many aggregates a history is spread over. They take turns, so each of a batch's events is of
// another one, and touches another row of the read model.
const historyAggregates = 1000

// CatchupOptions say how much to measure.
type CatchupOptions struct {
	Events int64 // how long the history is, at least 1
	Rounds int   // how often each side works through it, at least 1

	// Program is the path of rouse. Empty: its process is not measured.
	Program string
}

// CatchupResult is how fast a history is worked through by one worker.
type CatchupResult struct {
	Bench  string `json:"bench"` // catchup
	Server Server `json:"server"`
	Events int64  `json:"events"`

	// Nothing is a projection that writes nothing but its checkpoints, beside a loop that reads all events in batches and
	// decodes none.
	Nothing CatchupPair `json:"nothing"`

	// Upsert is a projection that updates one row for each event, in one statement per batch, beside a loop written by hand
	// that does the same and commits with one checkpoint in one round trip, asynchronously. Neither waits for the disk.
	Upsert CatchupPair `json:"upsert"`

	// Batched is rouse.Batched with a statement for each event, beside a loop written by hand that sends as many, pipelined.
	Batched CatchupPair `json:"batched"`

	// Apply is a projection that only has Apply, which does nothing, beside a loop written by hand that decodes the events and calls
	// the same for each in an open transaction.
	Apply CatchupPair `json:"apply"`

	// Process is `rouse worker --once` with the projection that it has built in, an upsert for each event; nil: not measured.
	Process *CatchupProcess `json:"process,omitempty"`
}

// CatchupProcess is a process from its start to its end, beside the same round's loop that only reads.
type CatchupProcess struct {
	PerSecond float64 `json:"events_per_second"` // median
	Ratio     float64 `json:"ratio_to_reading"`  // median of the rounds' ratios
	PeakMiB   float64 `json:"peak_mib"`          // the most memory at one time, of all rounds; 0: not told here

	Rounds []ScaleRound `json:"rounds"`
}

// CatchupPair is Rouse beside its floor, in events per second.
type CatchupPair struct {
	Rouse  float64        `json:"rouse_events_per_second"` // median
	Floor  float64        `json:"floor_events_per_second"` // median
	Ratio  float64        `json:"ratio"`                   // median of the rounds' ratios: Rouse / floor
	Rounds []CatchupRound `json:"rounds"`
}

// CatchupRound is one round of both sides, and how many events each has handled.
type CatchupRound struct {
	Rouse        float64 `json:"rouse_events_per_second"`
	Floor        float64 `json:"floor_events_per_second"`
	Ratio        float64 `json:"ratio"`
	Handled      int64   `json:"handled"`
	FloorHandled int64   `json:"floor_handled"`
}

// Catchup makes a history and lets each side work through it from the beginning, in turn.
func (b *Bench) Catchup(ctx context.Context, o CatchupOptions) (CatchupResult, error) {
	r := CatchupResult{Bench: "catchup", Server: b.server, Events: o.Events}
	c := &catchup{Bench: b, events: o.Events, total: o.Events * 8 * int64(o.Rounds)}
	c.progress(0)
	if err := b.fill(ctx, o.Events); err != nil {
		return r, err
	}
	for range o.Rounds {
		b.round++
		for _, pair := range []struct {
			of          *CatchupPair
			floor, ours func(context.Context) (int64, time.Duration, error)
		}{{&r.Nothing, c.raw, c.nothing}, {&r.Upsert, c.byHand, c.upsert}, {&r.Apply, c.applyByHand, c.apply}, {&r.Batched, c.batchedByHand, c.batched}} {
			round, err := c.pair(ctx, pair.floor, pair.ours)
			if err != nil {
				return r, err
			}
			pair.of.Rounds = append(pair.of.Rounds, round)
		}
		if err := b.catchupProcess(ctx, o, &r); err != nil {
			return r, err
		}
	}
	for _, p := range []*CatchupPair{&r.Nothing, &r.Upsert, &r.Batched, &r.Apply} {
		p.Rouse = Median(p.Rounds, func(r CatchupRound) float64 { return r.Rouse })
		p.Floor = Median(p.Rounds, func(r CatchupRound) float64 { return r.Floor })
		p.Ratio = Median(p.Rounds, func(r CatchupRound) float64 { return r.Ratio })
	}
	return r, nil
}

// catchupProcess runs one round of the process, and takes the medians so far.
func (b *Bench) catchupProcess(ctx context.Context, o CatchupOptions, r *CatchupResult) error {
	if o.Program == "" {
		return nil
	}
	if r.Process == nil {
		r.Process = &CatchupProcess{}
		if err := scaling.Ensure(ctx, b.pool); err != nil {
			return err
		}
	}
	round, err := b.processRound(ctx, o.Program, o.Events, 1)
	if err != nil {
		return err
	}
	p := r.Process
	p.Rounds = append(p.Rounds, round)
	p.PerSecond = Median(p.Rounds, func(r ScaleRound) float64 { return r.PerSecond })
	var ratios []float64
	for i, reading := range r.Nothing.Rounds {
		ratios = append(ratios, p.Rounds[i].PerSecond/reading.Floor)
	}
	p.Ratio = Median(ratios, func(f float64) float64 { return f })
	p.PeakMiB = max(p.PeakMiB, round.PeakMiB)
	return nil
}

// catchup is one run of Catchup.
type catchup struct {
	*Bench
	events      int64 // in the history
	done, total int64 // by all sides so far, and in the end
}

func (c *catchup) pair(ctx context.Context, floor, ours func(context.Context) (int64, time.Duration, error)) (r CatchupRound, err error) {
	var took, floorTook time.Duration
	if r.FloorHandled, floorTook, err = floor(ctx); err != nil {
		return r, err
	}
	if r.Handled, took, err = ours(ctx); err != nil {
		return r, err
	}
	if r.Handled != c.events || r.FloorHandled != c.events {
		return r, fmt.Errorf("%w: of %d events, Rouse has handled %d and the floor %d", ErrUnhandled, c.events, r.Handled, r.FloorHandled)
	}
	r.Rouse, r.Floor = PerSecond(c.events, took), PerSecond(c.events, floorTook)
	r.Ratio = r.Rouse / r.Floor
	return r, nil
}

// progress is called once for every batch.
func (c *catchup) progress(n int64) {
	c.done += n
	c.cfg.Progress(min(c.done, c.total), c.total)
}

// raw reads everything and looks at nothing but the position to go on from.
func (c *catchup) raw(ctx context.Context) (handled int64, took time.Duration, err error) {
	began := time.Now()
	conn, err := c.connect(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer closeConn(conn)
	for after := int64(0); ; {
		n, last, err := rawStep(ctx, conn, after)
		if err != nil {
			return handled, 0, err
		}
		if n == 0 {
			return handled, time.Since(began), nil
		}
		handled, after = handled+int64(n), last
		c.progress(int64(n))
	}
}

func rawStep(ctx context.Context, conn *pgx.Conn, after int64) (n int, last int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	rows, err := conn.Query(ctx, sqlReadRaw, after, batchSize)
	if err != nil {
		return 0, after, err
	}
	defer rows.Close()
	var position []byte
	for rows.Next() {
		position = append(position[:0], rows.RawValues()[0]...)
		n++
	}
	if err := rows.Err(); err != nil || n == 0 {
		return 0, after, err
	}
	field := rows.FieldDescriptions()[0]
	err = conn.TypeMap().Scan(field.DataTypeOID, field.Format, position, &last)
	return n, last, err
}

// byHand works through the history with the loop that anybody would write first, if they knew about pipelines.
func (c *catchup) byHand(ctx context.Context) (handled int64, took time.Duration, err error) {
	return c.handLoop(ctx, func(ctx context.Context, conn *pgx.Conn, after int64) (n int, last int64, err error) {
		return handStep(ctx, conn, sqlReadHand, after, nil)
	})
}

// handLoop works through the history by one step after the other, which returns how many events it had and the last of them.
func (c *catchup) handLoop(ctx context.Context, step func(ctx context.Context, conn *pgx.Conn, after int64) (n int, last int64, err error)) (handled int64, took time.Duration, err error) {
	if err := c.exec(ctx, statementTimeout, "update floor_checkpoint set last = 0"); err != nil {
		return 0, 0, err
	}
	return c.counted(ctx, func() (time.Duration, error) {
		began := time.Now()
		conn, err := c.connect(ctx)
		if err != nil {
			return 0, err
		}
		defer closeConn(conn)
		for after := int64(0); ; {
			stepCtx, cancel := context.WithTimeout(ctx, statementTimeout)
			n, last, err := step(stepCtx, conn, after)
			cancel()
			if err != nil || n == 0 {
				return time.Since(began), err
			}
			after = last
			c.progress(int64(n))
		}
	})
}

// counted empties the read model before work and adds it up afterwards.
func (c *catchup) counted(ctx context.Context, work func() (time.Duration, error)) (handled int64, took time.Duration, err error) {
	if err := c.exec(ctx, statementTimeout, "truncate bench_counts"); err != nil {
		return 0, 0, err
	}
	if err := c.checkpoint(ctx); err != nil {
		return 0, 0, err
	}
	if took, err = work(); err != nil {
		return 0, 0, err
	}
	handled, err = c.number(ctx, "select coalesce(sum(events), 0)::bigint from bench_counts")
	return handled, took, err
}

func (c *catchup) nothing(ctx context.Context) (int64, time.Duration, error) {
	return c.worker(ctx, nothing{fmt.Sprint("bench_nothing_", c.round)})
}

func (c *catchup) upsert(ctx context.Context) (handled int64, took time.Duration, err error) {
	return c.counted(ctx, func() (took time.Duration, err error) {
		_, took, err = c.worker(ctx, counts{fmt.Sprint("bench_upsert_", c.round)})
		return took, err
	})
}

// worker runs a fresh projection until it has everything: from the start of the worker, connections and claims included, to
// the commit of the last batch.
func (c *catchup) worker(ctx context.Context, p rouse.Projection) (handled int64, took time.Duration, err error) {
	began := time.Now()
	batches := make(chan int64, 1024) // read by this goroutine, so that Progress is called by it alone
	w, err := c.start(ctx, p, rouse.Observer{Handled: func(_ string, events int, _ time.Duration) {
		select {
		case batches <- int64(events):
		default: // a bar that is late harms nobody
		}
	}})
	if err != nil {
		return 0, 0, err
	}
	drained := make(chan error, 1)
	go func() { drained <- w.Drain(ctx) }()
	for waiting := true; waiting; {
		select {
		case n := <-batches:
			c.progress(n)
		case err = <-drained:
			waiting = false
		}
	}
	took = time.Since(began)
	if err = errors.Join(err, w.stop()); err != nil {
		return 0, 0, err
	}
	for len(batches) > 0 {
		c.progress(<-batches)
	}
	return w.Status().EventsHandled, took, c.reached(ctx, p.Name())
}

// reached fails if a stopped worker has left a checkpoint behind.
func (c *catchup) reached(ctx context.Context, projection string) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	var last, lowest int64
	if err := c.pool.QueryRow(ctx, sqlReached, projection).Scan(&last, &lowest); err != nil {
		return err
	}
	if lowest != last {
		return fmt.Errorf("%w: the last event is at %d and a checkpoint of %s at %d", ErrUnhandled, last, projection, lowest)
	}
	return nil
}
