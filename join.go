package rouse

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rouse-es/rouse/partition"
)

const (
	// startPatience is how long a start may take before the log says what it waits for; a connect takes milliseconds.
	startPatience = 3 * time.Second

	// startReminder is how often the log says it again.
	startReminder = time.Minute
)

// errSilent is why a worker has not started while its first connect is under way.
var errSilent = errors.New("nothing has answered yet at the address")

// join waits until the worker is registered, so that its row exists before it claims anything, and returns an error
// that wraps partition.ErrMixed if workers of the other kind run one of its projections.
func (w *Worker) join(ctx context.Context) error {
	if err := w.register(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	if w.control.Members() == 1 { // the heartbeat has seen nobody else, and whoever comes now is the later one
		return nil
	}
	names := make([]string, len(w.units))
	for i, u := range w.units {
		names[i] = u.name
	}
	standings, err := partition.LookAll(ctx, w.db, names)
	for _, name := range names {
		if err == nil {
			err = standings[name].Mixed(w.instance, w.cfg.static())
		}
	}
	if err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// register waits until the worker is registered, and says what it waits for if that takes long. It returns an error if only
// a person can mend what is in its way, and nil if ctx ends.
func (w *Worker) register(ctx context.Context) error {
	remind := time.NewTimer(startPatience)
	defer remind.Stop()
	for {
		select {
		case <-w.control.Ready():
			return nil
		case <-ctx.Done():
			return nil
		case err := <-w.control.Refused():
			return fmt.Errorf("rouse: the worker cannot start: %w", err)
		case <-remind.C:
			err := w.control.Trouble()
			if err == nil {
				err = errSilent
			}
			w.log.Error().Err(err).Msg("the worker has not started: the control connection cannot be made; trying again")
			remind.Reset(startReminder)
		}
	}
}
