package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

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
	case f.rate < 0:
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

func (a *app) appendCommand() *cobra.Command {
	var f appendFlags
	cmd := &cobra.Command{
		Use:   "append",
		Short: "Append realistic events of users, orders, accounts and products",
		Long: `Append writes events of several types to several types of aggregates: UserRegistered,
OrderPlaced, OrderPaid, MoneyDeposited and so on. The aggregates have the same names in every
run, and their versions go on from what is there. With --count 0 it appends until Ctrl+C.`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context) error {
			if err := f.validate(); err != nil {
				return err
			}
			return untilEOF(ctx, f.untilEOF, func(ctx context.Context) error { return a.append(ctx, f) })
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

func (a *app) append(ctx context.Context, f appendFlags) error {
	pool, err := a.pool(ctx, "rouse append", f.writers)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := migrations.Check(ctx, pool); err != nil {
		return err
	}
	p := &appender{pool: pool, aggregates: f.aggregates, rate: f.rate, batch: f.batch, writers: f.writers}
	began := time.Now()
	err = a.watched(p, f.count, func() error { return p.run(ctx, f.count, f.count == 0) })
	took := time.Since(began).Seconds()
	s := appendSummary{
		Events: p.appended.Load(), Seconds: took, EventsPerSecond: float64(p.appended.Load()) / max(took, 0.001),
		LastPosition: p.last.Load(), Conflicts: p.conflicts.Load(),
	}
	if err == nil || s.Events > 0 {
		err = errors.Join(err, a.summarize(s))
	}
	if err == nil && s.Events < f.count {
		err = fmt.Errorf("%w: %s of %s events are appended (run it again for more)", errIncomplete, grouped(s.Events), grouped(f.count))
	}
	return err
}

// watched draws the progress of an appender while do runs.
func (a *app) watched(p *appender, total int64, do func() error) error {
	b := newBar(a.err, total)
	done := make(chan error, 1)
	go func() { done <- do() }()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			b.clear()
			return err
		case <-tick.C:
			b.draw(p.appended.Load())
		}
	}
}

func (a *app) summarize(s appendSummary) error {
	if a.json {
		return a.printJSON(s)
	}
	text := fmt.Sprintf("appended %s events in %s (%s events/s)", grouped(s.Events), seconds(s.Seconds), grouped(int64(s.EventsPerSecond)))
	if s.Conflicts > 0 {
		text += fmt.Sprintf(", other writers were faster %s times", grouped(s.Conflicts))
	}
	return a.say("%s", text)
}
