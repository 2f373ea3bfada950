package db

import (
	"context"
	"errors"
	"fmt"
)

// ErrNoSync means that a commit did not come back while no synchronous standby was there to confirm it. It holds on the server that
// commits, and the client cannot know.
var ErrNoSync = errors.New("commits wait for a synchronous standby, and none is there" +
	" (bring it back, or take it out of synchronous_standby_names)")

var sqlNoSync = Load(files, "no_sync")

// NameSync returns err, with ErrNoSync if a time that was over is explained by that: the database answers, and commits wait.
func NameSync(ctx context.Context, d DB, err error) error {
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrPoolBusy) || ctx.Err() != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	var away bool
	if lookErr := QueryRow(ctx, d, []any{&away}, sqlNoSync.In("")); lookErr != nil || !away {
		return err
	}
	return fmt.Errorf("%w: %w", ErrNoSync, err)
}
