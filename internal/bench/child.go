package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/rouse-es/rouse/internal/process"
)

// usage is what a process has used. What a system does not tell is 0.
type usage struct {
	cpu     time.Duration
	peakMiB float64 // of memory at one time
}

// childStop is how long a child gets to end by itself when ctx is cancelled.
const childStop = 15 * time.Second

// startChild starts a process of Rouse's own program in the schema of the benchmark. When ctx ends it is asked to stop. The
// caller waits for it.
func (b *Bench) startChild(ctx context.Context, program string, args ...string) (*process.Process, error) {
	return b.startChildTo(ctx, nil, program, args...)
}

// startChildTo is startChild for a process that says something on standard output.
func (b *Bench) startChildTo(ctx context.Context, out io.Writer, program string, args ...string) (*process.Process, error) {
	cmd := exec.CommandContext(ctx, program, append(args, "--until-eof")...)
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		if name == "WORKER_ID" || name == "TOTAL_WORKERS" || strings.HasPrefix(name, "ROUSE_") && name != testVariable || strings.HasPrefix(name, "OTEL_") {
			continue
		}
		cmd.Env = append(cmd.Env, variable)
	}
	// In the environment no other user of the machine sees a password.
	cmd.Env = append(cmd.Env, "DATABASE_URL="+b.cfg.Connect.ConnString(), "ROUSE_SCHEMA="+b.schema, "ROUSE_LOG_LEVEL=error", "ROUSE_LOG_FORMAT=json")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = childStop
	cmd.Stdout = out
	p, err := process.Start(cmd, program+" "+args[0], process.Options{})
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	return p, nil
}

// testVariable makes a test binary be the program.
const testVariable = "ROUSE_TEST_AS_COMMAND"

// ended waits for the end of a child, which it must have been told of, or come to by itself.
func ended(p *process.Process) (usage, error) {
	err := p.Wait()
	if err != nil {
		err = fmt.Errorf("bench: a worker process: %w: %s", err, complaint(p.Output.String()))
	}
	state := p.State()
	return usage{cpu: state.UserTime() + state.SystemTime(), peakMiB: peakMiB(state)}, err
}
