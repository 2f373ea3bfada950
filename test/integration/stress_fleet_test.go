package integration_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rouse-es/rouse/internal/workertest"
	"github.com/rouse-es/rouse/test/process"
)

const fleetTotal = 3 // static workers, 0 to 2

// fleet is the worker processes of a stress test: one for each index, and a second one for index 1, by mistake.
type fleet struct {
	t        testing.TB
	url      string
	program  string // the binary of a user whose workers these are; "": this test's
	stumbles bool
	rng      *rand.Rand
	started  int
	seats    []*seat

	mu     sync.Mutex     // protects report
	report map[string]int // how often a line was reported
}

// seat is a place in the fleet and the process that has it now, nil if none has.
type seat struct {
	index   int
	process *process.Process
}

// newFleet starts the fleet, of a program if one is named. At the end of the test none of its processes is left.
func newFleet(t testing.TB, url, program string, stumbles bool, seed uint64) *fleet {
	f := &fleet{t: t, url: url, program: program, stumbles: stumbles, rng: rand.New(rand.NewPCG(seed, 1<<40)), report: map[string]int{}}
	t.Cleanup(func() {
		for _, s := range f.seats {
			if s.process != nil {
				s.process.Kill()
			}
		}
	})
	for _, index := range []int{0, 1, 2, 1} {
		s := &seat{index: index}
		f.seats = append(f.seats, s)
		if err := f.start(s); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// start puts a new process on a seat.
func (f *fleet) start(s *seat) error {
	f.started++
	order := workerOrder{
		URL: f.url, Name: fmt.Sprintf("worker-%d#%d", s.index, f.started), Index: s.index, Total: fleetTotal,
		BatchSize: []int{20, 100, 500}[f.rng.IntN(3)], Plain: f.started%2 == 0, Stumbles: f.stumbles,
	}
	cmd, err := f.command(order)
	if err != nil {
		return err
	}
	s.process, err = process.Start(f.t, cmd, order.Name, process.Options{Note: f.note})
	return err
}

// command is the process that an order is for. A user's binary is told what its flags and variables can say.
func (f *fleet) command(order workerOrder) (*exec.Cmd, error) {
	if f.program != "" {
		cmd := exec.Command(f.program, "projection-worker", "--projection", stressProjection, "--batch-size", strconv.Itoa(order.BatchSize))
		cmd.Env = append(workertest.Environ(), "DATABASE_URL="+order.URL, "WORKER_ID="+strconv.Itoa(order.Index),
			"TOTAL_WORKERS="+strconv.Itoa(order.Total), "USERAPP_ANNOUNCE=yes")
		return cmd, nil
	}
	encoded, err := json.Marshal(order)
	if err != nil {
		return nil, err
	}
	return process.Command(f.t, "stress-worker", stressWorkerEnv+"="+string(encoded)), nil
}

func (f *fleet) note(line string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.report[line]++
}

func (f *fleet) reported(line string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.report[line]
}

// disturb ends workers at random moments and starts them again, until ctx is cancelled. Most die by SIGKILL, wherever they
// are; some are told to stop. All seats are taken when it returns without an error.
func (f *fleet) disturb(ctx context.Context, longestPause time.Duration) error {
	for {
		pauseFor(ctx, time.Duration(f.rng.Int64N(int64(longestPause))))
		if ctx.Err() != nil {
			return nil
		}
		s := f.seats[f.rng.IntN(len(f.seats))]
		if f.rng.IntN(4) == 0 {
			f.stop(s)
			f.note("stopped")
		} else {
			s.process.Kill()
			f.note("killed")
		}
		pauseFor(ctx, time.Duration(f.rng.Int64N(int64(300*time.Millisecond))))
		if err := f.start(s); err != nil {
			return err
		}
	}
}

// stop tells a worker to stop, and wants it to end cleanly. Before its start the signal would find nobody to take it.
func (f *fleet) stop(s *seat) {
	f.awaitStart(s)
	s.process.End(syscall.SIGTERM)
	s.process.WantCleanExit()
}

// stopAll stops all workers at once.
func (f *fleet) stopAll() {
	f.awaitStart(f.seats...)
	for _, s := range f.seats {
		s.process.End(syscall.SIGTERM)
	}
	for _, s := range f.seats {
		s.process.WantCleanExit()
	}
}

// awaitStart returns when these workers have claimed, or looked for something to claim.
func (f *fleet) awaitStart(seats ...*seat) {
	for _, s := range seats {
		select {
		case <-s.process.Started:
		case <-s.process.Exited:
		case <-time.After(process.Patience):
			f.t.Errorf("%s has not started within %v", s.process.Name, process.Patience)
		}
	}
}
