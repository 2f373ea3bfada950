package rouse_test

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/testdb"
	operator "github.com/rouse-es/rouse/projection"
)

// emptied is a projection whose Reset does what it is told to before it empties.
type emptied struct {
	projection
	reset func(ctx context.Context, tx pgx.Tx) error
}

func (e emptied) Reset(ctx context.Context, tx pgx.Tx) error {
	if err := e.reset(ctx, tx); err != nil {
		return err
	}
	return resettable{e.projection}.Reset(ctx, tx)
}

// lastReset is how the last request to start over stands.
func (b *bundle) lastReset(name string) operator.ResetStatus {
	b.t.Helper()
	last, err := operator.LastReset(b.ctx, b.Pool, name)
	require.NoError(b.t, err)
	return last
}

// A Reset that fails says why, and leaves the projection as it was: what is new is handled, by every worker. Once it can be done it is.
func TestResetThatFailsSaysWhyAndTheOldModelStaysLive(t *testing.T) {
	t.Parallel()
	for name, reset := range map[string]func(ctx context.Context, tx pgx.Tx) error{
		"an error of Go": func(context.Context, pgx.Tx) error { return errors.New("relation refused") },
		"a panic":        func(context.Context, pgx.Tx) error { panic("relation refused") },
		"a statement that is refused": func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "delete from relation_refused")
			return err
		},
		"a statement, and says so not": func(ctx context.Context, tx pgx.Tx) error {
			_, _ = tx.Exec(ctx, "delete from relation_refused")
			return nil
		},
		"the end of its session": func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "delete from done; select pg_terminate_backend(pg_backend_pid())")
			return err
		},
		"the end of its goroutine": func(context.Context, pgx.Tx) error {
			runtime.Goexit() // relation refused
			return nil
		},
		"a rollback": func(ctx context.Context, tx pgx.Tx) error {
			_, _ = tx.Exec(ctx, "rollback")
			return errors.New("relation refused")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			var refuses atomic.Bool
			refuses.Store(true)
			p := emptied{projection{name: "p"}, func(ctx context.Context, tx pgx.Tx) error {
				if refuses.Load() {
					return reset(ctx, tx)
				}
				return nil
			}}
			for range 2 {
				b.start(b.Pool, rouse.Config{Projections: []rouse.Projection{p}}).WaitStarted()
			}
			at := []int64{b.append("e"), b.append("e")}
			b.caughtUp("p")
			_, err := operator.Reset(b.ctx, b.Pool, "p", 0, false)
			require.NoError(t, err)
			testdb.Eventually(t, patience, "the reset to have failed", func() (bool, error) { return b.lastReset("p").Tries > 0, nil })
			last := b.lastReset("p")
			require.True(t, last.Pending)
			require.Regexp(t, "refused|current transaction is aborted|terminating|conn closed|unexpected EOF|must not commit or roll back|ended its goroutine", last.Reason)

			at = append(at, b.append("e"))
			b.caughtUp("p")
			require.ElementsMatch(t, at, b.done("p"), "the old model, with what is new")
			require.Less(t, b.lastReset("p").Tries, 5, "there are pauses between the tries, for all workers together")

			refuses.Store(false)
			testdb.Eventually(t, patience, "the reset to be done", func() (bool, error) { return b.lastReset("p") == operator.ResetStatus{}, nil })
			b.caughtUp("p")
			require.ElementsMatch(t, at, b.done("p"))
		})
	}
}

// A Reset that no other try can mend is taken back at once, and so is one that has failed too often.
func TestResetThatCannotBeDoneIsTakenBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var may atomic.Bool // another try may mend it
	p := emptied{projection{name: "p"}, func(context.Context, pgx.Tx) error {
		if may.Load() {
			return errBroken
		}
		return rouse.Permanent(errBroken)
	}}
	at := b.append("e")
	b.start(b.Pool, rouse.Config{Projections: []rouse.Projection{p}})
	b.caughtUp("p")
	for _, tries := range []int{0, 9} {
		_, err := operator.Reset(b.ctx, b.Pool, "p", 0, false)
		require.NoError(t, err)
		b.exec("update projections set reset_tries = $1 where reset_to is not null", tries)
		testdb.Eventually(t, patience, "the request to be taken back", func() (bool, error) { return !b.lastReset("p").Pending, nil })
		require.Contains(t, b.lastReset("p").Reason, "empty the read model of p: broken")
		may.Store(true)
	}
	require.Equal(t, []int64{at}, b.done("p"))

	_, err := operator.LastReset(b.ctx, b.Pool, "nobody")
	require.ErrorIs(t, err, operator.ErrNoProjection)
}

// A request that an operator takes back is not done, and says so.
func TestResetThatIsTakenBackIsNotDone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, b.drain(b.Pool, rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}}))
	_, err := operator.Reset(b.ctx, b.Pool, "p", 0, false)
	require.NoError(t, err)
	require.Equal(t, operator.ResetStatus{Pending: true, Reason: "no worker has tried it yet"}, b.lastReset("p"))
	b.exec("update projections set reset_to = null")
	require.Equal(t, operator.ResetStatus{Reason: "the request was taken back before a worker did it"}, b.lastReset("p"))
}
