package main

import (
	"errors"
	"fmt"
	"slices"
	"sync"
)

// fleet is the processes of a demo: one appender and the workers. Its methods are called by one goroutine.
type fleet struct {
	env      []string
	appender *child   // nil before the start and after its end
	workers  []*child // by number: the last process of each, nil before the first
	away     []string // by number: stateKilled, stateLeft or stateFrozen, "" if it is to be at work
	kills    int      // how often a worker was killed
	failed   chan *child
	waiters  sync.WaitGroup
}

// newFleet starts nothing yet.
func newFleet(env []string, workers int) *fleet {
	return &fleet{
		env: env, workers: make([]*child, workers), away: make([]string, workers),
		failed: make(chan *child, 1), // buffered to 1: the first failure is the one to report
	}
}

// startAppender starts the appender.
func (f *fleet) startAppender(rate float64) error {
	appender, err := f.startWatched("the appender", appenderArgs(rate))
	f.appender = appender
	return err
}

// startWorker starts a worker for the first time or again, under the same label. One that has left must have left in order.
func (f *fleet) startWorker(i int) error {
	if f.away[i] == stateLeft {
		if err := f.workers[i].stop(childStopTimeout); err != nil {
			return err
		}
	}
	worker, err := f.startWatched(workerLabel(i), workerArgs(i))
	if err == nil {
		f.workers[i], f.away[i] = worker, ""
	}
	return err
}

// startWatched starts a child whose end is a failure, unless it was told to end.
func (f *fleet) startWatched(name string, args []string) (*child, error) {
	c, err := startChild(name, f.env, nil, args...)
	if err != nil {
		return nil, err
	}
	f.waiters.Go(func() {
		<-c.done
		if c.expected.Load() {
			return
		}
		select {
		case f.failed <- c:
		default:
		}
	})
	return c, nil
}

// kill kills one worker, as a crash would.
func (f *fleet) kill(i int) error {
	f.workers[i].kill()
	f.away[i] = stateKilled
	f.kills++
	return nil
}

// leave tells one worker to stop in order, and does not wait for it.
func (f *fleet) leave(i int) error {
	f.workers[i].tell()
	f.away[i] = stateLeft
	return nil
}

// freeze stops one worker where it stands.
func (f *fleet) freeze(i int) error {
	if err := freeze(f.workers[i].cmd.Process); err != nil {
		return fmt.Errorf("cannot freeze %s: %w", f.workers[i].name, err)
	}
	f.away[i] = stateFrozen
	return nil
}

// thaw lets a frozen worker go on.
func (f *fleet) thaw(i int) error {
	if err := thaw(f.workers[i].cmd.Process); err != nil {
		return fmt.Errorf("cannot let %s go on: %w", f.workers[i].name, err)
	}
	f.away[i] = ""
	return nil
}

// working are the labels of the workers that are to be at work.
func (f *fleet) working() []string {
	labels := []string{}
	for i, worker := range f.workers {
		if worker != nil && f.away[i] == "" {
			labels = append(labels, workerLabel(i))
		}
	}
	return labels
}

// gather lets every frozen worker go on, and sees to it that somebody is at work.
func (f *fleet) gather() error {
	var errs []error
	for i, how := range f.away {
		if how == stateFrozen {
			errs = append(errs, f.thaw(i))
		}
	}
	if len(f.working()) == 0 {
		errs = append(errs, f.startWorker(0))
	}
	return errors.Join(errs...)
}

// stopAppender ends the appender in order.
func (f *fleet) stopAppender() error {
	if f.appender == nil {
		return nil
	}
	appender := f.appender
	f.appender = nil
	return appender.stop(childStopTimeout)
}

// stop ends everything in order, the appender first, and waits for all of it.
func (f *fleet) stop() error {
	errs := make([]error, len(f.workers)+1)
	errs[len(f.workers)] = f.stopAppender()
	if i := slices.Index(f.away, stateFrozen); i >= 0 { // there is one at a time
		errs = append(errs, f.thaw(i))
	}
	var all sync.WaitGroup
	for i, worker := range f.workers {
		if worker != nil && f.away[i] != stateKilled {
			all.Go(func() { errs[i] = worker.stop(childStopTimeout) })
		}
	}
	all.Wait()
	f.waiters.Wait()
	return errors.Join(errs...)
}

// failure explains why a child has ended by itself. Its last lines are for standard error.
func (c *child) failure() error {
	<-c.done
	how := "exit status 0"
	if c.err != nil {
		how = c.err.Error()
	}
	return fmt.Errorf("%s ended by itself with %s (its last lines are above)", c.name, how)
}
