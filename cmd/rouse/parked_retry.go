package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/parked"
	"github.com/rouse-es/rouse/partition"
)

const (
	// A retry is looked at after waitFirst, and then less and less often, down to every waitMost.
	waitFirst = 20 * time.Millisecond
	waitMost  = time.Second
)

// retried is what `rouse parked retry` reports. Handled and Failed are those of --wait; what is neither is still to be handled.
type retried struct {
	Asked   int64 `json:"asked"`
	Handled int   `json:"handled"`
	Failed  int   `json:"failed"`

	// WithoutWorker are the projections that no living worker runs, so that nobody handles their events now.
	WithoutWorker []string `json:"without_worker"`

	pending int // neither handled nor failed when the wait was over
}

func (a *app) parkedRetryCommand() *cobra.Command {
	var f parkedFlags
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "retry",
		Short: "Have parked events handled again, in order",
		Long: `Retry asks the workers to handle parked events again: all that are parked of each aggregate that
is meant, in order, from the first one on. One that fails again stays, with those behind it,
until it is asked for again. With --wait it waits until all are handled or have failed again;
the exit code is 5 if some have.`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context) error { return a.parkedRetry(ctx, f, wait) }),
	}
	f.register(cmd.Flags())
	cmd.Flags().BoolVar(&f.all, "all", false, "those of all projections")
	cmd.Flags().DurationVar(&wait, "wait", 0, "wait at most so long for the result; 0: do not wait")
	return cmd
}

func (a *app) parkedRetry(ctx context.Context, f parkedFlags, wait time.Duration) error {
	filter, err := f.chosen()
	if err != nil {
		return err
	}
	return a.withSchema(ctx, "rouse parked retry", func(pool *pgxpool.Pool) error {
		waiting, result, err := ask(ctx, pool, filter)
		if err != nil {
			return err
		}
		if !a.json {
			if err := a.sayAsked(result); err != nil {
				return err
			}
		}
		if wait > 0 && result.Asked > 0 {
			err = waiting.wait(ctx, pool, wait, &result)
			if err != nil {
				return err
			}
		}
		return a.sayRetried(result, wait)
	})
}

// asked are the positions that were asked for, by projection.
type asked map[string]map[int64]bool

// ask asks for a retry of what a filter means, in each projection that has some of it.
func ask(ctx context.Context, pool *pgxpool.Pool, filter parked.Filter) (asked, retried, error) {
	result := retried{WithoutWorker: []string{}}
	events, err := parked.List(ctx, pool, filter, 0)
	if err != nil {
		return nil, result, err
	}
	waiting := asked{}
	touched := map[string]map[eventstore.Stream]bool{}
	for _, e := range events {
		if touched[e.Projection] == nil {
			touched[e.Projection] = map[eventstore.Stream]bool{}
		}
		touched[e.Projection][e.Aggregate] = true
	}
	for _, projection := range projectionsOf(events) {
		filter := filter
		filter.Projection = projection
		all, err := parked.List(ctx, pool, parked.Filter{Projection: projection, Aggregate: filter.Aggregate}, 0)
		if err != nil {
			return nil, result, err
		}
		waiting[projection] = map[int64]bool{}
		for _, e := range all { // the whole aggregate is handled again, whichever of its events was meant
			if touched[projection][e.Aggregate] {
				waiting[projection][e.Position] = true
			}
		}
		n, err := parked.Retry(ctx, pool, filter)
		if err != nil {
			return nil, result, err
		}
		result.Asked += n
		standing, err := partition.Look(ctx, pool, projection)
		if err != nil {
			return nil, result, err
		}
		if len(standing.Members) == 0 {
			result.WithoutWorker = append(result.WithoutWorker, projection)
		}
	}
	return waiting, result, nil
}

func projectionsOf(events []parked.Event) []string {
	var names []string
	for _, e := range events {
		if !slices.Contains(names, e.Projection) {
			names = append(names, e.Projection)
		}
	}
	return names
}

// wait waits until everything that was asked for is handled or has failed again, at most so long.
func (w asked) wait(ctx context.Context, pool *pgxpool.Pool, most time.Duration, result *retried) error {
	end := time.NewTimer(most)
	defer end.Stop()
	for pause := waitFirst; ; pause = min(2*pause, waitMost) {
		handled, failed, pending, err := w.look(ctx, pool)
		if err != nil {
			return err
		}
		result.Handled, result.Failed, result.pending = handled, failed, pending
		if pending == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-end.C:
			return nil
		case <-time.After(pause):
		}
	}
}

// look counts what has become of it. What is there and not due any more has failed again, or waits behind what has.
func (w asked) look(ctx context.Context, pool *pgxpool.Pool) (handled, failed, pending int, err error) {
	for projection, positions := range w {
		events, err := parked.List(ctx, pool, parked.Filter{Projection: projection}, 0)
		if err != nil {
			return 0, 0, 0, err
		}
		there := 0
		for _, e := range events {
			switch {
			case !positions[e.Position]:
				continue
			case e.Due:
				pending++
			default:
				failed++
			}
			there++
		}
		handled += len(positions) - there
	}
	return handled, failed, pending, nil
}

func (a *app) sayAsked(r retried) error {
	if r.Asked == 0 {
		return a.say("no such event is parked")
	}
	if err := a.say("%s to be handled again", counted(r.Asked, "event")); err != nil {
		return err
	}
	for _, projection := range r.WithoutWorker {
		if err := a.say("no living worker runs %s: they wait for one", projection); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) sayRetried(r retried, wait time.Duration) error {
	waited := wait > 0 && r.Asked > 0
	if a.json {
		if err := a.printJSON(r); err != nil {
			return err
		}
	} else if waited {
		if err := a.say("%s handled, %s failed again or wait behind one that has", grouped(int64(r.Handled)), grouped(int64(r.Failed))); err != nil {
			return err
		}
	}
	switch {
	case r.Failed > 0:
		return errFailedAgain
	case r.pending > 0:
		return fmt.Errorf("%s not handled yet after %s (is a worker running? rouse status shows it)", counted(int64(r.pending), "event"), wait)
	}
	return nil
}

func (a *app) parkedDiscardCommand() *cobra.Command {
	var f parkedFlags
	var yes bool
	cmd := &cobra.Command{
		Use:   "discard",
		Short: "Forget parked events, and go on with those behind them",
		Long: `Discard takes parked events out of the queue for good: the projection will never handle them.
What waited behind them is handled, as if retry had asked for it. Whole projections are only
discarded with --yes.`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context) error { return a.parkedDiscard(ctx, f, yes) }),
	}
	f.register(cmd.Flags())
	cmd.Flags().BoolVar(&f.all, "all", false, "those of all projections")
	cmd.Flags().BoolVar(&yes, "yes", false, "yes, all of them")
	return cmd
}

// discarded is what `rouse parked discard` reports.
type discarded struct {
	Discarded int64 `json:"discarded"`
}

func (a *app) parkedDiscard(ctx context.Context, f parkedFlags, yes bool) error {
	filter, err := f.chosen()
	if err != nil {
		return err
	}
	if f.aggregate == "" && f.position == 0 && !yes {
		return usagef("this discards every parked event of %s: say --yes, or name an --aggregate or a --position", whose(f))
	}
	return a.withSchema(ctx, "rouse parked discard", func(pool *pgxpool.Pool) error {
		events, err := parked.List(ctx, pool, filter, 0)
		if err != nil {
			return err
		}
		var result discarded
		for _, projection := range projectionsOf(events) {
			filter.Projection = projection
			n, err := parked.Discard(ctx, pool, filter)
			if err != nil {
				return err
			}
			result.Discarded += n
		}
		switch {
		case a.json:
			return a.printJSON(result)
		case result.Discarded == 0:
			return a.say("no such event is parked")
		}
		return a.say("%s discarded", counted(result.Discarded, "event"))
	})
}

func whose(f parkedFlags) string {
	if f.projection == "" {
		return "all projections"
	}
	return f.projection
}
