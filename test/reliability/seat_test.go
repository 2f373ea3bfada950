package reliability_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rouse-es/rouse/test/process"
)

// startAgain is how long after a worker that did not start the next one is started.
const startAgain = 300 * time.Millisecond

// seat is a place in the fleet: a gate, and the process of a worker that connects through it. A worker does not start without
// its database; then there is another try, as by everything that keeps services running.
type seat struct {
	sync.Mutex // held by whoever breaks something at the seat

	t      testing.TB
	number int
	gate   *gate
	folder string // for effects
	order  order  // what every worker of the seat is told
	rng    *rand.Rand
	keeper sync.WaitGroup

	mu      sync.Mutex // protects following fields
	process *process.Process
	started int  // processes so far
	empty   bool // nobody is to sit here
}

// fill has a worker on the seat from now on.
func (s *seat) fill(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.empty = false
	return s.start()
}

// start starts a process, and a keeper that starts the next one if that one does not start. The caller holds mu.
func (s *seat) start() error {
	s.started++
	o := s.order
	o.URL, o.Label = s.gate.url, fmt.Sprintf("%s#%d", s.name(), s.started)
	o.BatchSize, o.Plain = []int{50, 200, 500}[s.rng.IntN(3)], o.Broken == "" && s.rng.IntN(6) == 0
	if o.Hostile != nil && o.Broken == "" {
		o.Plain = s.number == 0 // so that each form of the handler meets every trouble
	}
	o.Effects = filepath.Join(s.folder, o.Label)
	encoded, err := json.Marshal(o)
	if err != nil {
		return err
	}
	cmd := process.Command(s.t, "worker", orderEnv+"="+string(encoded))
	p, err := process.Start(s.t, cmd, o.Label, process.Options{MayNotStart: true, MayExit: exitStatus})
	if err != nil {
		return err
	}
	s.process = p
	s.keeper.Go(func() {
		<-p.Exited
		pause(context.Background(), startAgain)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.process == p && !s.empty {
			if err := s.start(); err != nil {
				s.t.Errorf("starting a worker again: %v", err)
			}
		}
	})
	return nil
}

// vacate has nobody on the seat from now on, and returns the process that is still there.
func (s *seat) vacate() *process.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.empty = true
	return s.process
}

// clear kills whoever is on the seat.
func (s *seat) clear() {
	s.vacate().Kill()
	s.keeper.Wait()
}

// retire tells the worker to stop and waits for its clean end.
func (s *seat) retire() {
	p := s.vacate()
	select {
	case <-p.Ready: // before that the signal would find nobody to take it
	case <-p.Exited:
	}
	p.End(syscall.SIGTERM)
	p.WantCleanExit()
}

func (s *seat) current() *process.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process
}

// name is what the labels of all its processes begin with.
func (s *seat) name() string { return fmt.Sprintf("w%d", s.number) }

// label is that of the process on the seat.
func (s *seat) label() string { return s.current().Name }

// kill is kill -9 of the worker, and a new one in its place.
func (s *seat) kill() fault {
	return simple{"worker kill -9", func(context.Context) error { s.vacate().Kill(); return nil }, s.fill}
}

// freeze stops the worker (SIGSTOP) and lets it go on (SIGCONT) as if nothing had happened.
func (s *seat) freeze() fault {
	p := s.current()
	signal := func(sig os.Signal) func(context.Context) error {
		return func(context.Context) error {
			if err := p.Signal(sig); !errors.Is(err, os.ErrProcessDone) {
				return err
			}
			return nil // it has not started
		}
	}
	return simple{"worker frozen", signal(sigStop), signal(sigCont)}
}

// leave is SIGTERM, which the worker must follow cleanly, and a new worker in its place.
func (s *seat) leave() fault {
	return simple{leaves, func(context.Context) error { s.retire(); return nil }, s.fill}
}
