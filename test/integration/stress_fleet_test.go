package integration_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	fleetTotal = 3 // static workers, 0 to 2

	processTimeout = time.Minute // to start or to end, on a machine that is busy with other tests
)

// fleet is the worker processes of a stress test: one for each index, and a second one for index 1, by mistake.
type fleet struct {
	t        testing.TB
	url      string
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
	process *workerProcess
}

// newFleet starts the fleet. At the end of the test none of its processes is left.
func newFleet(t testing.TB, url string, stumbles bool, seed uint64) *fleet {
	f := &fleet{t: t, url: url, stumbles: stumbles, rng: rand.New(rand.NewPCG(seed, 1<<40)), report: map[string]int{}}
	t.Cleanup(func() {
		for _, s := range f.seats {
			if s.process != nil {
				s.process.end(os.Kill)
				<-s.process.exited
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
	encoded, err := json.Marshal(order)
	if err != nil {
		return err
	}
	cmd := roleCommand(f.t, "stress-worker", stressWorkerEnv+"="+string(encoded))
	s.process, err = startWorkerProcess(f.t, cmd, order.Name, f.note)
	return err
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
			s.process.end(os.Kill)
			<-s.process.exited
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
	s.process.end(syscall.SIGTERM)
	s.process.wantCleanExit()
}

// stopAll stops all workers at once.
func (f *fleet) stopAll() {
	f.awaitStart(f.seats...)
	for _, s := range f.seats {
		s.process.end(syscall.SIGTERM)
	}
	for _, s := range f.seats {
		s.process.wantCleanExit()
	}
}

// awaitStart returns when these workers have claimed, or looked for something to claim.
func (f *fleet) awaitStart(seats ...*seat) {
	for _, s := range seats {
		select {
		case <-s.process.started:
		case <-s.process.exited:
		case <-time.After(processTimeout):
			f.t.Errorf("%s has not started within %v", s.process.name, processTimeout)
		}
	}
}

// workerProcess is one process of a worker. Two goroutines belong to it, which end with the process: one reads what it
// reports, the other waits for its end.
type workerProcess struct {
	t       testing.TB
	name    string
	cmd     *exec.Cmd
	stdin   io.Closer // its end is the end of the process
	log     *logTail
	started chan struct{}
	exited  chan struct{}

	mu    sync.Mutex // protects ended
	ended bool       // this test has asked for its end
	err   error      // how it ended; good once exited is closed
}

func startWorkerProcess(t testing.TB, cmd *exec.Cmd, name string, note func(line string)) (*workerProcess, error) {
	p := &workerProcess{t: t, name: name, cmd: cmd, log: &logTail{}, started: make(chan struct{}), exited: make(chan struct{})}
	cmd.Stderr = p.log
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.stdin = stdin
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.exited)
		p.listen(stdout, note)
		p.err = cmd.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.ended {
			t.Errorf("%s ended by itself: %v\n%s", name, p.err, p.log)
		}
		if strings.Contains(p.log.String(), "DATA RACE") {
			t.Errorf("%s has a data race:\n%s", name, p.log)
		}
	}()
	return p, nil
}

// listen reads reports until the process has ended.
func (p *workerProcess) listen(stdout io.Reader, note func(line string)) {
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if lines.Text() == lineStarted {
			close(p.started)
			continue
		}
		note(lines.Text())
	}
}

func (p *workerProcess) end(with os.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	_ = p.cmd.Process.Signal(with) // an error means that it has ended already
}

// wantCleanExit waits for a process that was told to stop.
func (p *workerProcess) wantCleanExit() {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(processTimeout):
		p.t.Errorf("%s did not stop within %v of SIGTERM\n%s", p.name, processTimeout, p.log)
		p.end(os.Kill)
		<-p.exited
		return
	}
	if p.err != nil {
		p.t.Errorf("%s did not stop cleanly: %v\n%s", p.name, p.err, p.log)
	}
}

// logTail keeps the end of what is written to it.
type logTail struct {
	mu  sync.Mutex // protects end
	end []byte
}

func (l *logTail) Write(p []byte) (int, error) {
	const most = 16 << 10
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end = append(l.end, p...)
	if len(l.end) > 2*most {
		l.end = append(l.end[:0], l.end[len(l.end)-most:]...)
	}
	return len(p), nil
}

func (l *logTail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.end)
}
