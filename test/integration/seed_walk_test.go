//go:build unix

package integration_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/scaling"
	"github.com/rouse-es/rouse/internal/testdb"
)

// walkUsers is how many events `--append` adds, one for each user.
const walkUsers = 20

// walk types the commands of the scaling example as its README has them, in its folder, and reads what they print.
type walk struct {
	*stage
	workers []*command // all that ran, in the order of their start
}

func newWalk(t *testing.T) *walk {
	t.Helper()
	w := &walk{stage: newStage(t, testdb.Empty(t))}
	w.run("cd ../basic && go generate")
	return w
}

// command is one command line at a terminal of its own.
type command struct {
	w    *walk
	line string
	cmd  *exec.Cmd
	out  lines
	done chan struct{} // closed at its end
}

// lines can be read while a command writes to it.
type lines struct {
	mu sync.Mutex // protects b
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start types a command line. What it starts is one process group, as at a terminal.
func (w *walk) start(line string) *command {
	w.t.Helper()
	c := &command{w: w, line: line, done: make(chan struct{})}
	c.cmd = exec.CommandContext(w.ctx, "sh", "-c", line)
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.cmd.Cancel = func() error { return syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL) }
	c.cmd.Dir = filepath.Join("..", "..", "examples", "scaling")
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, "PG") && name != "WORKER_ID" && name != "TOTAL_WORKERS" {
			c.cmd.Env = append(c.cmd.Env, variable)
		}
	}
	c.cmd.Env = append(c.cmd.Env, "DATABASE_URL="+w.URL)
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.out
	require.NoError(w.t, c.cmd.Start())
	go func() {
		defer close(c.done)
		_ = c.cmd.Wait() // the exit code is asked for later
	}()
	w.t.Cleanup(func() {
		select {
		case <-c.done:
		default:
			_ = c.cmd.Cancel()
			<-c.done
		}
		if w.t.Failed() {
			w.t.Logf("$ %s\n%s", c.line, &c.out)
		}
	})
	return c
}

// run types a command line that must end by itself, without a fault.
func (w *walk) run(line string) *command {
	w.t.Helper()
	c := w.start(line)
	c.ends()
	require.Zero(w.t, c.cmd.ProcessState.ExitCode(), "%s\n%s", c.line, &c.out)
	return c
}

// worker starts a worker and waits until it has begun.
func (w *walk) worker(line string) *command {
	w.t.Helper()
	c := w.start(line)
	w.workers = append(w.workers, c)
	c.prints("until Ctrl+C")
	return c
}

// ends waits for the end of the command and of all that it started.
func (c *command) ends() {
	c.w.t.Helper()
	testdb.Eventually(c.w.t, patience, "the end of "+c.line, func() (bool, error) {
		select {
		case <-c.done:
			return true, nil
		default:
			return false, nil
		}
	})
}

// prints waits until the command has printed a text.
func (c *command) prints(text string) {
	c.w.t.Helper()
	testdb.Eventually(c.w.t, patience, fmt.Sprintf("%q from %s", text, c.line), func() (bool, error) {
		return strings.Contains(c.out.String(), text), nil
	})
}

// interrupt presses Ctrl+C: the whole group gets the signal. A worker says last how many events it has handled. The status is
// that of the shell and of `go run`, which were interrupted too, and says nothing about the program.
func (c *command) interrupt() {
	c.w.t.Helper()
	require.NoError(c.w.t, syscall.Kill(-c.cmd.Process.Pid, syscall.SIGINT))
	c.ends()
	if id := workerID.FindStringSubmatch(c.out.String()); id != nil {
		require.Contains(c.w.t, c.out.String(), fmt.Sprintf("\n[Worker %s] Stopped after %d events\n", id[1], len(c.handled())))
	}
}

var (
	workerID = regexp.MustCompile(`(?m)^\[Worker (\d+)\] `)
	oneEvent = regexp.MustCompile(`(?m)^\[Worker (\d+)\] Processing: User (\d+) \(aggregate: ([0-9a-f]{8})\) - Worker total: (\d+)$`)
)

// handled are the users whose events a command has printed, in order. Its running total must be that of the lines.
func (c *command) handled() (users []string) {
	c.w.t.Helper()
	for i, m := range oneEvent.FindAllStringSubmatch(c.out.String(), -1) {
		require.Equal(c.w.t, strconv.Itoa(i+1), m[4], "the running total of %s", c.line)
		users = append(users, m[3])
	}
	return users
}

// handles waits until a worker has printed so many events.
func (c *command) handles(n int) {
	c.w.t.Helper()
	testdb.Eventually(c.w.t, patience, fmt.Sprintf("%d events from %s", n, c.line), func() (bool, error) { return len(c.handled()) >= n, nil })
	require.Len(c.w.t, c.handled(), n, c.line)
}

// total is how many events all workers have printed.
func (w *walk) total() (n int) {
	for _, c := range w.workers {
		n += len(c.handled())
	}
	return n
}

// once wants that every event in the log was handled, counted and printed once and in turn.
func (w *walk) once() {
	w.t.Helper()
	var v scaling.Verdict
	testdb.Eventually(w.t, patience, "every event to be counted", func() (done bool, err error) {
		v, err = scaling.Judge(w.ctx, w.Pool)
		return v.Complete() || !v.Right(), err
	})
	require.True(w.t, v.Complete(), "%+v", v)
	testdb.Eventually(w.t, patience, "every event to be printed", func() (bool, error) { return w.total() >= int(v.Appended), nil })
	printed := map[string]int64{}
	for _, c := range w.workers {
		for _, user := range c.handled() {
			printed[user]++
		}
	}
	require.Len(w.t, printed, walkUsers)
	for user, n := range printed {
		require.Equal(w.t, w.int("select count(*) from events where left(aggregate_id, 8) = $1", user), n, "lines of user %s", user)
	}
}

// lagQuery is the query of docs/operations.md.
const lagQuery = `SELECT
    projection_name,
    last_global_position,
    (SELECT MAX(global_position) FROM events) - last_global_position as lag
FROM projection_checkpoints
WHERE projection_name = 'scalable_projection'`

// A newcomer types the commands of the README: workers come, one after the other, while events are appended, and two leave.
func TestSeedWalkStepByStep(t *testing.T) {
	t.Parallel()
	w := newWalk(t)
	w.run("go run main.go --worker-id=0 --append").prints("Appended 20 events")
	first := w.worker("WORKER_ID=0 go run main.go")
	first.handles(walkUsers) // 100 %
	w.eventually(patience, "the lag to be 0 in all partitions", "select count(*) = 32 and bool_and(lag = 0) from ("+lagQuery+") l")

	// Stopped and started again, it handles nothing again.
	first.interrupt()
	w.run("go run main.go --worker-id=0 --append")
	fleet := []*command{w.worker("WORKER_ID=0 go run main.go")}
	fleet[0].handles(walkUsers)

	load := w.start("go run main.go --worker-id=0 --append --rate 20")
	for id := 1; id <= 3; id++ {
		fleet = append(fleet, w.worker(fmt.Sprintf("WORKER_ID=%d go run main.go", id)))
		w.shares(fleet)
	}

	// Scaling down: the others take over what those that leave had.
	fleet[3].interrupt()
	fleet[2].interrupt()
	w.shares(fleet[:2])
	load.interrupt()
	require.Contains(t, load.out.String(), "\nAppended ")
	w.once()
	for _, c := range fleet[:2] {
		c.interrupt()
	}
	w.once()
}

// shares waits until 60 events in a row, three seconds' worth, are spread evenly over the workers.
func (w *walk) shares(fleet []*command) {
	w.t.Helper()
	const window, tolerance = 60, 15
	var seen []int
	last := make([]int, len(fleet))
	for i, c := range fleet {
		last[i] = len(c.handled())
	}
	testdb.Eventually(w.t, patience, fmt.Sprintf("%d workers to have even shares", len(fleet)), func() (bool, error) {
		counts, all := make([]int, len(fleet)), 0
		for i, c := range fleet {
			counts[i] = len(c.handled()) - last[i]
			all += counts[i]
		}
		if all < window {
			return false, fmt.Errorf("the last shares are %v percent", seen)
		}
		seen = seen[:0]
		even := true
		for i := range fleet {
			share := 100 * counts[i] / all
			even = even && share >= 100/len(fleet)-tolerance && share <= 100/len(fleet)+tolerance
			seen = append(seen, share)
			last[i] += counts[i]
		}
		if !even {
			return false, fmt.Errorf("the last shares are %v percent", seen)
		}
		return true, nil
	})
	w.t.Logf("%d workers: %v percent", len(fleet), seen)
}

// A newcomer types the commands of "Scaling up", "Scaling down" and "Changing partition count": four workers by number, two
// of them stopped and brought back, and then eight.
func TestSeedWalkByNumber(t *testing.T) {
	t.Parallel()
	w := newWalk(t)
	fleet := make([]*command, 4)
	for id := range fleet {
		fleet[id] = w.worker(fmt.Sprintf("WORKER_ID=%d TOTAL_WORKERS=4 go run main.go", id))
	}
	w.run("go run main.go --worker-id=0 --append")
	for _, c := range fleet {
		c.handles(walkUsers / 4)
	}
	w.once()

	// Scaling down: the others go on with theirs, and the rest waits.
	fleet[3].interrupt()
	fleet[2].interrupt()
	w.run("go run main.go --worker-id=0 --append")
	for _, c := range fleet[:2] {
		c.handles(2 * walkUsers / 4)
	}
	w.eventually(patience, "the workers' own lag to be 0",
		"select bool_and(lag = 0) from ("+lagQuery+") l join projection_checkpoints c using (projection_name, last_global_position) where c.owner is not null")
	require.EqualValues(t, 16, w.int("select count(*) from projection_checkpoints where owner is null and partition % 4 in (2, 3)"))
	v, err := scaling.Judge(w.ctx, w.Pool)
	require.NoError(t, err)
	require.True(t, v.Right(), "%+v", v)
	require.EqualValues(t, walkUsers/2, v.Appended-v.Counted, "what waits is what worker 2 and 3 would have handled")
	for _, id := range []int{2, 3} {
		fleet[id] = w.worker(fmt.Sprintf("WORKER_ID=%d TOTAL_WORKERS=4 go run main.go", id))
		fleet[id].handles(walkUsers / 4)
	}
	w.once()

	// Another number: all stop, and eight go on. Nothing is handled again.
	for _, c := range fleet {
		c.interrupt()
	}
	var eight []*command
	for id := range 8 {
		eight = append(eight, w.worker(fmt.Sprintf("go run main.go --worker-id=%d --total-workers=8", id)))
	}
	w.run("go run main.go --worker-id=0 --append")
	w.once()
	for _, c := range eight {
		c.interrupt()
	}
	w.once()
	require.EqualValues(t, 3*walkUsers, w.total())
}
