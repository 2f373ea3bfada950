package main

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	// killEvery is how often a worker is killed in a demo without an end, and downFor how long it stays away.
	killEvery = 20 * time.Second
	downFor   = 2 * time.Second
)

// fleet is the processes of a demo: one appender and the workers. Its methods are called by one goroutine.
type fleet struct {
	env      []string
	appender *child   // nil before the start and after its end
	workers  []*child // by number; the last process of each
	down     int      // the worker that was killed and is not started again yet; -1: none
	returned []bool   // by number: it was started again and has not been seen at work since
	killed   int      // how often a worker was killed
	failed   chan *child
	waiters  sync.WaitGroup
}

// newFleet starts nothing yet.
func newFleet(env []string, workers int) *fleet {
	return &fleet{
		env: env, workers: make([]*child, workers), returned: make([]bool, workers), down: -1,
		failed: make(chan *child, 1), // buffered to 1: the first failure is the one to report
	}
}

// start runs the workers and the appender.
func (f *fleet) start(rate float64) error {
	for i := range f.workers {
		if err := f.startWorker(i); err != nil {
			return err
		}
	}
	appender, err := f.startWatched("the appender", appenderArgs(rate))
	f.appender = appender
	return err
}

func (f *fleet) startWorker(i int) error {
	worker, err := f.startWatched(workerLabel(i), workerArgs(i))
	if err == nil {
		f.workers[i] = worker
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
func (f *fleet) kill(i int) {
	f.workers[i].kill()
	f.down = i
	f.killed++
}

// revive starts the worker again that is down, if there is one, and returns its number, or -1.
func (f *fleet) revive() (int, error) {
	i := f.down
	if i < 0 {
		return -1, nil
	}
	f.down = -1
	f.returned[i] = true
	return i, f.startWorker(i)
}

// complete tells whether every worker that was killed has been seen at work again.
func (f *fleet) complete() bool { return f.down < 0 && !slices.Contains(f.returned, true) }

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
	var all sync.WaitGroup
	for i, worker := range f.workers {
		if worker != nil && i != f.down {
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
