package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// child is a process of Rouse's own program, in the schema of the benchmark.
type child struct {
	cmd    *exec.Cmd
	stdin  io.Closer // it stops in order when this is closed, and so also when this process dies
	stderr bytes.Buffer
}

// usage is what a process has used. What a system does not tell is 0.
type usage struct {
	cpu     time.Duration
	peakMiB float64 // of memory at one time
}

// childStop is how long a child gets to end by itself when ctx is cancelled.
const childStop = 15 * time.Second

// startChild starts one; when ctx ends it is asked to stop. The caller waits for it.
func (b *Bench) startChild(ctx context.Context, program string, args ...string) (*child, error) {
	c := &child{cmd: exec.CommandContext(ctx, program, append(args, "--until-eof")...)}
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if name == "WORKER_ID" || name == "TOTAL_WORKERS" || strings.HasPrefix(name, "ROUSE_") && name != testVariable || strings.HasPrefix(name, "OTEL_") {
			continue
		}
		c.cmd.Env = append(c.cmd.Env, variable)
	}
	// In the environment no other user of the machine sees a password.
	c.cmd.Env = append(c.cmd.Env, "DATABASE_URL="+b.cfg.Connect.ConnString(), "ROUSE_SCHEMA="+b.schema, "ROUSE_LOG_LEVEL=error", "ROUSE_LOG_FORMAT=json")
	c.cmd.Stderr = &c.stderr
	c.cmd.Cancel = func() error { return c.cmd.Process.Signal(os.Interrupt) }
	c.cmd.WaitDelay = childStop
	apart(c.cmd)
	var err error
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("bench: start %s %s: %w", program, args[0], err)
	}
	return c, nil
}

// testVariable makes a test binary be the program.
const testVariable = "ROUSE_TEST_AS_COMMAND"

// wait waits for its end, which it must have been told of, or come to by itself.
func (c *child) wait() (usage, error) {
	err := c.cmd.Wait()
	if err != nil {
		err = fmt.Errorf("bench: a worker process: %w: %s", err, complaint(c.stderr.Bytes()))
	}
	state := c.cmd.ProcessState
	return usage{cpu: state.UserTime() + state.SystemTime(), peakMiB: peakMiB(state)}, err
}
