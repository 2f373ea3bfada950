package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/console"
	"github.com/rouse-es/rouse/parked"
	"github.com/rouse-es/rouse/partition"
)

const (
	// A retry is looked at after waitFirst, and then less and less often, down to every waitMost.
	waitFirst = 20 * time.Millisecond
	waitMost  = time.Second
)

// retried is what `rouse parked retry` reports. Handled, Erased and Failed are those of --wait; what is neither is still to be handled.
type retried struct {
	Asked   int64 `json:"asked"`
	Handled int   `json:"handled"`
	Erased  int   `json:"erased"` // no longer in the log, and taken out of the queue
	Failed  int   `json:"failed"` // or waiting behind one that has

	// WithoutWorker are the projections that no living worker runs, so that nobody handles their events now.
	WithoutWorker []string `json:"without_worker"`

	pending int // none of these when the wait was over
}

func parkedRetryVerb(e *env) *cobra.Command {
	var f parkedFlags
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "retry",
		Short: "Have parked events handled again, in order",
		Long: `Retry asks the workers to handle parked events now: all that are parked of each aggregate that
is meant, in order, from the first one on. One that fails again is tried as often as one that has
just been set aside, and then parked again, with those behind it. With --wait it waits until all are
handled or have failed once more; the exit code is 5 if some have.`,
		Args: cobra.NoArgs,
		RunE: e.verb(func(ctx context.Context) error { return retryParked(ctx, e, f, wait) }),
	}
	f.register(cmd.Flags())
	cmd.Flags().BoolVar(&f.all, "all", false, "those of all projections")
	cmd.Flags().DurationVar(&wait, "wait", 0, "wait at most so long for the result; 0: do not wait")
	return cmd
}

func retryParked(ctx context.Context, e *env, f parkedFlags, wait time.Duration) error {
	filter, err := f.chosen()
	if err != nil {
		return err
	}
	return e.db.WithSchema(ctx, "parked retry", func(pool *pgxpool.Pool) error {
		waiting, result, err := ask(ctx, pool, filter)
		if err != nil {
			return err
		}
		if !e.json {
			if err := sayAsked(e, result); err != nil {
				return err
			}
		}
		if wait > 0 && result.Asked > 0 {
			err = waiting.wait(ctx, pool, wait, &result)
			if err != nil {
				return err
			}
		}
		return sayRetried(e, result, wait)
	})
}

// asked are the events that were asked for, as they were then, by projection and position.
type asked map[string]map[int64]parked.Event

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
		waiting[projection] = map[int64]parked.Event{}
		for _, e := range all { // the whole aggregate is handled again, whichever of its events was meant
			if touched[projection][e.Aggregate] {
				waiting[projection][e.Position] = e
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
		if err := w.look(ctx, pool, result); err != nil {
			return err
		}
		if result.pending == 0 {
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

// look counts what has become of it. The first event of an aggregate that has failed once more keeps those behind it.
func (w asked) look(ctx context.Context, pool *pgxpool.Pool, result *retried) error {
	result.Handled, result.Erased, result.Failed, result.pending = 0, 0, 0, 0
	for projection, then := range w {
		events, err := parked.List(ctx, pool, parked.Filter{Projection: projection}, 0)
		if err != nil {
			return err
		}
		there, failed := map[int64]bool{}, map[eventstore.Stream]bool{}
		for _, e := range events {
			if e.First { // it comes before the others
				failed[e.Aggregate] = e.Attempts > then[e.Position].Attempts && !e.Trying
			}
			if _, was := then[e.Position]; !was {
				continue
			}
			if there[e.Position] = true; failed[e.Aggregate] {
				result.Failed++
			} else {
				result.pending++
			}
		}
		for position, e := range then {
			switch {
			case there[position]:
			case e.Erased:
				result.Erased++
			default:
				result.Handled++
			}
		}
	}
	return nil
}

func sayAsked(e *env, r retried) error {
	if r.Asked == 0 {
		return e.say("no such event is parked")
	}
	if err := e.say("%s to be handled again", console.Counted(r.Asked, "event")); err != nil {
		return err
	}
	for _, projection := range r.WithoutWorker {
		if err := e.say("no living worker runs %s: they wait for one", projection); err != nil {
			return err
		}
	}
	return nil
}

func sayRetried(e *env, r retried, wait time.Duration) error {
	waited := wait > 0 && r.Asked > 0
	if e.json {
		if err := e.printJSON(r); err != nil {
			return err
		}
	} else if waited {
		if err := e.say("%s handled, %s failed again or wait behind one that has", console.Grouped(int64(r.Handled)), console.Grouped(int64(r.Failed))); err != nil {
			return err
		}
		if r.Erased > 0 {
			if err := e.say("%s no longer in the log, and taken out", console.Counted(int64(r.Erased), "event")); err != nil {
				return err
			}
		}
	}
	switch {
	case r.Failed > 0:
		return errFailedAgain
	case r.pending > 0:
		return fmt.Errorf("%s not handled yet after %s (is a worker running? rouse status shows it)", console.Counted(int64(r.pending), "event"), wait)
	}
	return nil
}
