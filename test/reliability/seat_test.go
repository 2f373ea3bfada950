package reliability_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/rouse-es/rouse/test/process"
)

// seat is a place in the fleet: a gate, and the process of a worker that connects through it. Whoever breaks something at it
// holds its lock meanwhile.
type seat struct {
	sync.Mutex
	t      testing.TB
	number int
	gate   *gate
	folder string // for effects
	broken string // see order
	rng    *rand.Rand

	started int // processes so far
	process *process.Process
}

// start puts a new process on the seat.
func (s *seat) start(context.Context) error {
	s.started++
	o := order{
		URL: s.gate.url, Label: fmt.Sprintf("w%d#%d", s.number, s.started), Broken: s.broken,
		BatchSize: []int{20, 100, 500}[s.rng.IntN(3)], Plain: s.rng.IntN(3) == 0,
	}
	o.Effects = filepath.Join(s.folder, o.Label)
	encoded, err := json.Marshal(o)
	if err != nil {
		return err
	}
	s.process, err = process.Start(s.t, process.Command(s.t, "worker", orderEnv+"="+string(encoded)), o.Label, nil)
	return err
}

// label is that of the process on the seat.
func (s *seat) label() string { return s.process.Name }

// kill is kill -9 of the worker, and a new one in its place.
func (s *seat) kill() fault {
	return simple{"worker kill -9", func(context.Context) error { s.process.Kill(); return nil }, s.start}
}

// freeze stops the worker (SIGSTOP) and lets it go on (SIGCONT) as if nothing had happened.
func (s *seat) freeze() fault {
	signal := func(sig syscall.Signal) func(context.Context) error {
		return func(context.Context) error { return s.process.Signal(sig) }
	}
	return simple{"worker frozen", signal(sigStop), signal(sigCont)}
}

// leave is SIGTERM, which the worker must follow cleanly, and a new worker in its place.
func (s *seat) leave() fault {
	return simple{"worker SIGTERM", func(context.Context) error { s.retire(); return nil }, s.start}
}

// retire tells the worker to stop and waits for its clean end.
func (s *seat) retire() {
	select {
	case <-s.process.Ready: // before that the signal would find nobody to take it
	case <-s.process.Exited:
	}
	s.process.End(syscall.SIGTERM)
	s.process.WantCleanExit()
}
