package signal

import (
	"context"
	"errors"
	"io"
	"os"
)

// ErrInputEnded is why a program that lives until the end of its standard input stops.
var ErrInputEnded = errors.New("standard input has ended")

// UntilEOF runs do until standard input ends. An end of the input is an orderly stop, as a signal is. A program runs another
// as its child this way: the child goes when its parent goes, however that happens and on every system.
func UntilEOF(ctx context.Context, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		// Nothing can interrupt this read, so the goroutine lives as long as the process.
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel(ErrInputEnded)
	}()
	return IgnoreEnd(ctx, do(ctx))
}

// IgnoreEnd drops an error that only says that ctx has ended.
func IgnoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, context.Cause(ctx)) || errors.Is(err, ctx.Err())) {
		return nil
	}
	return err
}

// IsStop reports whether the cause of a context's end is that the program was asked to stop: by a signal, or by the end of its
// standard input.
func IsStop(cause error) bool {
	var stop *Error
	return errors.As(cause, &stop) || errors.Is(cause, ErrInputEnded)
}
