package aggregate_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/aggregate"
	"github.com/rouse-es/rouse/eventstore"
)

// writers is how many go at one stream.
const writers = 16

// command carries one decision out, until nobody is faster.
type command func(db aggregate.DB, decide func(balance) ([]any, error)) error

// untilDone is Execute, called again by those who were too slow too often.
func (b *testBundle) untilDone(db aggregate.DB, decide func(balance) ([]any, error)) error {
	for {
		_, err := b.execute(db, decide)
		if !errors.Is(err, eventstore.ErrConflict) && !errors.Is(err, eventstore.ErrRetryTransaction) {
			return err
		}
	}
}

// naive is what everybody writes first: it does not say which version it has decided on.
func (b *testBundle) naive(db aggregate.DB, decide func(balance) ([]any, error)) error {
	state, _, err := aggregate.Load(b.ctx, db, account, fold, aggregate.Events(known))
	if err != nil {
		return err
	}
	decided, err := decide(state)
	if err != nil || len(decided) == 0 {
		return err
	}
	news, err := known.Encode(decided...)
	if err != nil {
		return err
	}
	return pgx.BeginFunc(b.ctx, db, func(tx pgx.Tx) error {
		_, err := eventstore.Append(b.ctx, tx, account, eventstore.Any(), news...)
		return err
	})
}

// race has all writers withdraw 10 at a time until the account is empty. All of them have read the same balance before the first one
// appends. It returns how many decisions of the log did not see what came before them, and what is left.
func (b *testBundle) race(db aggregate.DB, run command) (unseen int, left int64) {
	b.open(500)
	var all sync.WaitGroup
	all.Add(writers)
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			var meet sync.Once
			defer meet.Do(all.Done) // who fails before keeps nobody waiting
			for empty := false; !empty; {
				err := run(db, func(state balance) ([]any, error) {
					meet.Do(func() { all.Done(); all.Wait() })
					decided, err := take(10)(state)
					empty = len(decided) == 0
					return decided, err
				})
				if !assert.NoError(b.t, err) {
					return
				}
			}
		})
	}
	wg.Wait()
	var state balance
	for _, e := range b.history() {
		if w, is := e.(withdrawn); is && (w.Balance != state.Cents || w.Events != state.Events) {
			unseen++
		}
		state = fold(state, e)
	}
	return unseen, state.Cents
}

func TestExecute_SixteenWritersSeeEveryDecision(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*pgxpool.Config){
		"read committed": func(*pgxpool.Config) {},
		"serializable": func(c *pgxpool.Config) {
			c.ConnConfig.RuntimeParams["default_transaction_isolation"] = "serializable"
		},
		"simple protocol": func(c *pgxpool.Config) { c.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			unseen, left := b.race(b.pool(change), b.untilDone)
			assert.Zero(t, unseen, "decisions that have not seen what came before")
			assert.Zero(t, left)
			assert.Equal(t, 51, b.int("select count(*) from events"))
		})
	}
}

// The same race without the expected version: the judge has to see what it is there for.
func TestWithoutTheExpectedVersionUpdatesAreLost(t *testing.T) {
	t.Parallel()
	b := setup(t)
	unseen, left := b.race(b.pool(func(*pgxpool.Config) {}), b.naive)
	assert.NotZero(t, unseen)
	assert.NotZero(t, b.int("select count(*) from events where event_type = 'Withdrawn' and payload ->> 'balance' = '500'")-1, "decided on one balance")
	t.Logf("%d decisions did not see what came before, %d cents are left", unseen, left)
}

func TestExecute_TriesAreBounded(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		options []aggregate.Option
		want    int
	}{
		"by default": {nil, aggregate.DefaultTries},
		"as said":    {[]aggregate.Option{aggregate.Tries(3)}, 3},
		"once":       {[]aggregate.Option{aggregate.Tries(1)}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			tries := 0
			_, err := b.execute(b.Pool, func(balance) ([]any, error) {
				tries++
				return []any{paidIn{1}}, b.rival()
			}, tc.options...)
			require.ErrorIs(t, err, eventstore.ErrConflict)
			assert.ErrorContains(t, err, "try again later, or raise aggregate.Tries")
			assert.Equal(t, tc.want, tries)
			assert.Equal(t, tc.want, b.int("select count(*) from events"), "those of the rival")
		})
	}
}

func TestExecute_WithoutABoundEndsWithItsContextOrWithAQuietStream(t *testing.T) {
	t.Parallel()
	b := setup(t)
	tries := 0
	_, err := b.execute(b.Pool, func(balance) ([]any, error) {
		if tries++; tries > 2*aggregate.DefaultTries {
			return []any{paidIn{1}}, nil
		}
		return []any{paidIn{1}}, b.rival()
	}, aggregate.Tries(-1))
	require.NoError(t, err)

	ctx, cancel := context.WithCancel(b.ctx)
	tries = 0
	_, err = aggregate.Execute(ctx, b.Pool, account, fold, func(balance) ([]any, error) {
		if tries++; tries == 5 {
			defer cancel()
		}
		return []any{paidIn{1}}, b.rival()
	}, aggregate.Tries(-1), aggregate.Events(known))
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, 5, tries)
}
