package demo

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rouse-es/rouse/internal/process"
)

// stopTimeout is how long a child may take to stop in order: the batch in hand of a worker, and its farewell.
const stopTimeout = 20 * time.Second

// fleet is the processes of a demo: one appender and the workers. Its methods are called by one goroutine.
type fleet struct {
	env      []string
	appender *process.Process   // nil before the start and after its end
	workers  []*process.Process // by number: the last process of each, nil before the first
	away     []string           // by number: stateKilled, stateLeft or stateFrozen, "" if it is to be at work
	kills    int                // how often a worker was killed
	failed   chan *process.Process
	waiters  sync.WaitGroup
}

// newFleet starts nothing yet.
func newFleet(env []string, workers int) *fleet {
	return &fleet{
		env: env, workers: make([]*process.Process, workers), away: make([]string, workers),
		failed: make(chan *process.Process, 1), // buffered to 1: the first failure is the one to report
	}
}

// startAppender starts the appender.
func (f *fleet) startAppender(rate float64) error {
	appender, err := f.startWatched("the appender", AppenderArgs(rate))
	f.appender = appender
	return err
}

// startWorker starts a worker for the first time or again, under the same label. One that has left must have left in order.
func (f *fleet) startWorker(i int) error {
	if f.away[i] == stateLeft {
		if err := f.workers[i].Stop(stopTimeout); err != nil {
			return err
		}
	}
	worker, err := f.startWatched(workerLabel(i), WorkerArgs(i))
	if err == nil {
		f.workers[i], f.away[i] = worker, ""
	}
	return err
}

// startWatched starts a child whose end is a failure, unless it was told to end.
func (f *fleet) startWatched(name string, args []string) (*process.Process, error) {
	c, err := startSelf(name, f.env, nil, args...)
	if err != nil {
		return nil, err
	}
	f.waiters.Go(func() {
		<-c.Exited
		if c.Expected() {
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
	f.workers[i].Kill()
	f.away[i] = stateKilled
	f.kills++
	return nil
}

// leave tells one worker to stop in order, and does not wait for it.
func (f *fleet) leave(i int) error {
	f.workers[i].Dismiss()
	f.away[i] = stateLeft
	return nil
}

// freeze stops one worker where it stands.
func (f *fleet) freeze(i int) error {
	if err := f.workers[i].Freeze(); err != nil {
		return fmt.Errorf("cannot freeze %s: %w", f.workers[i].Name, err)
	}
	f.away[i] = stateFrozen
	return nil
}

// thaw lets a frozen worker go on.
func (f *fleet) thaw(i int) error {
	if err := f.workers[i].Thaw(); err != nil {
		return fmt.Errorf("cannot let %s go on: %w", f.workers[i].Name, err)
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

// gather lets every frozen worker go on, and starts one if none is at work.
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
	return appender.Stop(stopTimeout)
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
			all.Go(func() { errs[i] = worker.Stop(stopTimeout) })
		}
	}
	all.Wait()
	f.waiters.Wait()
	return errors.Join(errs...)
}

// failure explains why a child has ended by itself. Its last lines are for standard error.
func failure(c *process.Process) error {
	how := "exit status 0"
	if err := c.Wait(); err != nil {
		how = err.Error()
	}
	return fmt.Errorf("%s ended by itself with %s (its last lines are above)", c.Name, how)
}

// startSelf runs this program again as a child. stdout may be nil. The caller must see to its end.
func startSelf(name string, env []string, stdout *os.File, args ...string) (*process.Process, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("cannot find this program to start %s: %w", name, err)
	}
	cmd := exec.Command(program, args...)
	cmd.Env = env
	if stdout != nil {
		cmd.Stdout = stdout
	}
	return process.Start(cmd, name, process.Options{})
}

// sentence is what a rouse that failed says of it, in the last line of its output.
func sentence(output *process.Lines) string {
	last := output.Last()
	if last == "" {
		return "it said nothing"
	}
	return strings.TrimPrefix(last, "rouse: ")
}
