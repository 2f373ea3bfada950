package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/appender"
	"github.com/rouse-es/rouse/internal/console"
	"github.com/rouse-es/rouse/migrations"
)

// appendFlags are the flags of `rouse append`.
type appendFlags struct {
	count                      int64
	aggregates, batch, writers int
	rate                       float64
	untilEOF                   bool
}

func (f appendFlags) validate() error {
	switch {
	case f.count < 0:
		return usagef("--count %d: at least one event, or 0 to append until Ctrl+C", f.count)
	case f.aggregates < 1:
		return usagef("--aggregates %d: at least one", f.aggregates)
	case !(f.rate >= 0) || math.IsInf(f.rate, 0): // so written, NaN is refused too
		return usagef("--rate %g: events per second, or 0 for as fast as possible", f.rate)
	case f.batch < 0 || f.batch > 10_000:
		return usagef("--batch %d: from 1 to 10000, or 0 to choose by the rate", f.batch)
	case f.writers < 1 || f.writers > 256:
		return usagef("--writers %d: from 1 to 256", f.writers)
	}
	return nil
}

// appendSummary is what `rouse append` reports.
type appendSummary struct {
	Events          int64   `json:"events"`
	Seconds         float64 `json:"seconds"`
	EventsPerSecond float64 `json:"events_per_second"`
	LastPosition    int64   `json:"last_position"`

	// Conflicts is how often another program was faster at an aggregate; the events were then appended behind its own.
	Conflicts int64 `json:"conflicts"`
}

func appendVerb(e *env) *cobra.Command {
	var f appendFlags
	cmd := &cobra.Command{
		Use:   "append",
		Short: "Append made-up events of users, orders, accounts and products, to try things out",
		Long: `Append writes events of several types to several types of aggregates: UserRegistered,
OrderPlaced, OrderPaid, MoneyDeposited and so on. The aggregates have the same names in every
run, and their versions go on from what is there. With --count 0 it appends until Ctrl+C.
The events stay in the log, and the projections of a program take them for their own: use
a database that is made for it.`,
		Args: cobra.NoArgs,
		RunE: e.verb(func(ctx context.Context) error {
			if err := f.validate(); err != nil {
				return err
			}
			return untilEOF(ctx, f.untilEOF, func(ctx context.Context) error { return appendEvents(ctx, e, f) })
		}),
	}
	flags := cmd.Flags()
	flags.Int64Var(&f.count, "count", 1000, "how many events; 0: until Ctrl+C")
	flags.IntVar(&f.aggregates, "aggregates", 100, "how many aggregates they are spread over")
	flags.Float64Var(&f.rate, "rate", 0, "events per second; 0: as fast as possible")
	flags.IntVar(&f.batch, "batch", 0, "events per transaction; 0: up to 50, fewer at a slow rate")
	flags.IntVar(&f.writers, "writers", 1, "how many transactions at once")
	untilEOFFlag(flags, &f.untilEOF)
	return cmd
}

func appendEvents(ctx context.Context, e *env, f appendFlags) error {
	pool, err := e.db.Pool(ctx, "append", f.writers)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := migrations.Check(ctx, pool); err != nil {
		return err
	}
	p := &appender.Appender{Pool: pool, Aggregates: f.aggregates, Rate: f.rate, Batch: f.batch, Writers: f.writers}
	began := time.Now()
	err = watched(e.err, p, f.count, func() error { return p.Run(ctx, f.count, f.count == 0) })
	took := time.Since(began).Seconds()
	s := appendSummary{
		Events: p.Appended(), Seconds: took, EventsPerSecond: float64(p.Appended()) / max(took, 0.001),
		LastPosition: p.Last(), Conflicts: p.Conflicts(),
	}
	if err == nil || s.Events > 0 {
		err = errors.Join(err, printSummary(e, s))
	}
	if err == nil && s.Events < f.count {
		err = fmt.Errorf("%w: %s of %s events are appended (run it again for more)", errIncomplete, console.Grouped(s.Events), console.Grouped(f.count))
	}
	return err
}

// watched draws the progress of an appender on w while do runs.
func watched(w io.Writer, p *appender.Appender, total int64, do func() error) error {
	b := console.NewBar(w, total)
	done := make(chan error, 1)
	go func() { done <- do() }()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			b.Clear()
			return err
		case <-tick.C:
			b.Draw(p.Appended())
		}
	}
}

func printSummary(e *env, s appendSummary) error {
	if e.json {
		return e.printJSON(s)
	}
	text := fmt.Sprintf("appended %s events in %s (%s events/s)", console.Grouped(s.Events), console.Seconds(s.Seconds), console.Grouped(int64(s.EventsPerSecond)))
	if s.Conflicts > 0 {
		text += fmt.Sprintf(", other writers were faster %s times", console.Grouped(s.Conflicts))
	}
	return e.say("%s", text)
}
