package main

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/spf13/pflag"
)

// errInputEnded is why a process that lives until the end of its standard input stops.
var errInputEnded = errors.New("standard input has ended")

// untilEOFFlag adds the flag by which one rouse runs another as its child: the child stops in order when its standard input
// ends, so it goes when its parent goes, however that happens and on every system.
func untilEOFFlag(flags *pflag.FlagSet, value *bool) {
	flags.BoolVar(value, "until-eof", false, "stop in order when standard input ends")
	_ = flags.MarkHidden("until-eof") // it is there
}

// untilEOF runs do, with on until standard input ends. An end of the input is an orderly stop, as a signal is.
func untilEOF(ctx context.Context, on bool, do func(ctx context.Context) error) error {
	if !on {
		return do(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		// Nothing can interrupt this read, so the goroutine lives as long as the process.
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel(errInputEnded)
	}()
	return ignoreEnd(ctx, do(ctx))
}

// ignoreEnd drops an error that only says that ctx has ended.
func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, context.Cause(ctx)) || errors.Is(err, ctx.Err())) {
		return nil
	}
	return err
}
