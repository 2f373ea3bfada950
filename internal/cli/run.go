package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/signal"
)

// runConns is how many connections the pool of a program without verbs may have at least.
const runConns = 16

// Run runs a program without verbs and returns the exit code. The flags of all verbs count as their variables say.
func Run(do func(ctx context.Context, w Work) error, stdout, stderr io.Writer) int {
	e := newEnv(Program{}, stdout, stderr)
	cmd := &cobra.Command{Use: e.program.name()}
	e.persistentFlags(cmd)
	ctx, stop := signal.Context(context.Background())
	defer stop()
	err := errors.Join(cmd.ParseFlags(nil), e.prepare(cmd)) // the first makes the flags known
	if e.parsed = err == nil; e.parsed {
		err = signal.IgnoreEnd(ctx, e.withPool(ctx, do))
	}
	return e.end(ctx, err)
}

// withPool runs do with a pool that leads to a database.
func (e *env) withPool(ctx context.Context, do func(ctx context.Context, w Work) error) error {
	pool, err := e.db.Pool(ctx, "", runConns)
	if err != nil {
		return err
	}
	defer pool.Close()
	return own(do(ctx, Work{Pool: pool, Schema: e.db.Schema, Label: defaultLabel(), Log: e.log}))
}

// end closes the log, says what went wrong, and returns the exit code.
func (e *env) end(ctx context.Context, err error) int {
	read := e.closeLog()
	if err == nil {
		return exitOK
	}
	if !e.parsed {
		err = usageError{err}
	}
	code, sentence := e.explained(ctx, err)
	if read { // else the sentence would be stuck as the log is
		sayLast(e.err, e.program.name()+": "+sentence)
	}
	return code
}

// closeLog writes what is left of the log, and reports whether it was read.
func (e *env) closeLog() (read bool) { return e.buffer == nil || e.buffer.Close() }

// explained explains an error, in the words of the program. ctx is that of the command.
func (e *env) explained(ctx context.Context, err error) (code int, sentence string) {
	if signal.IsStop(err) || signal.IsStop(context.Cause(ctx)) && errors.Is(err, context.Canceled) {
		err = errIncomplete
	}
	code, sentence = explain(&e.db, err)
	return code, e.speak(sentence)
}

// defaultLabel is that of a worker that was given none.
func defaultLabel() string {
	host, _ := os.Hostname()
	return fmt.Sprintf("%s-%d", host, os.Getpid())
}
