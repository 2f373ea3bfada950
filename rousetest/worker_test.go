package rousetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/parked"
	"github.com/rouse-es/rouse/rousetest"
)

const patience = time.Minute

var account = eventstore.Stream{Type: "account", ID: "a"}

func money(eventType, cents string) eventstore.NewEvent {
	return eventstore.NewEvent{Type: eventType, Payload: json.RawMessage(`{"cents": ` + cents + `}`)}
}

// mails is an effect that fails as often as it is told.
type mails struct {
	mu    sync.Mutex // protects following fields
	fails int
	tries int
	done  []int64 // versions
	retry rouse.RetryPolicy
}

func (*mails) Name() string                     { return "mails" }
func (m *mails) RetryPolicy() rouse.RetryPolicy { return m.retry }
func (m *mails) Do(_ context.Context, ev eventstore.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tries++
	if m.fails > 0 {
		m.fails--
		return errors.New("no mail today")
	}
	m.done = append(m.done, ev.AggregateVersion)
	return nil
}

func TestDrain_HandlesWhatIsThereByAllHandlers(t *testing.T) {
	t.Parallel()
	db := rousetest.New(t, rousetest.Config{SQL: createBalances + "; create table copy (like balances including all)"})
	db.Append(t, account, money("Deposited", "10"), money("Deposited", "5"))
	var m mails
	db.Drain(t, balances{"b"}, &m)
	db.Expect(t, showBalances, rousetest.Row{"a", 15})
	require.Equal(t, []int64{1, 2}, m.done, "an effect begins at the beginning of the log")
	db.Append(t, account, money("Withdrawn", "15"))
	db.Drain(t, balances{"b"}, &m)
	db.Expect(t, showBalances, rousetest.Row{"a", 0})
	db.Drain(t, queued{})
	db.Expect(t, showBalances, rousetest.Row{"a", 15})
}

// Without a clock that stands still, an event whose pause is next to nothing is tried many times before Drain returns.
func TestDrain_TriesAnEventOnceAndAdvanceMakesItDue(t *testing.T) {
	t.Parallel()
	db := rousetest.New(t, rousetest.Config{})
	m := &mails{fails: 3, retry: rouse.RetryPolicy{Tries: 5, Pause: func(int) time.Duration { return time.Nanosecond }, Jitter: -1}}
	db.Append(t, account, money("Deposited", "1"), money("Deposited", "2"))
	for try := 1; try <= 3; try++ {
		db.Drain(t, m)
		db.Drain(t, m, balancesOf(db, t)) // in vain
		require.Equal(t, try, m.tries)
		set := db.Parked(t, "mails")
		require.Len(t, set, 2)
		require.Equal(t, "no mail today", set[0].Error)
		require.False(t, set[0].DueAt.IsZero())
		require.WithinDuration(t, time.Now(), set[0].DueAt, time.Hour, "the time that operators see is the real one")
		db.Advance(t, time.Millisecond)
	}
	db.Drain(t, m)
	require.Equal(t, []int64{1, 2}, m.done, "in order, and both")
	require.Empty(t, db.Parked(t, "mails"))
}

// balancesOf is another projection, of which there are tables.
func balancesOf(db *rousetest.DB, t *testing.T) rousetest.Handler {
	_, err := db.Pool.Exec(t.Context(), createBalances)
	if err != nil {
		_, err = db.Pool.Exec(t.Context(), "truncate balances")
	}
	require.NoError(t, err)
	return balances{"beside"}
}

func TestAdvance_TriesUntilTheyAreUsedUpAndThenItWaitsForPeople(t *testing.T) {
	t.Parallel()
	db := rousetest.New(t, rousetest.Config{})
	const tries = 5 // the pause after each is longer; the last but one is 1.6 s, give or take a fifth
	m := &mails{fails: 1000, retry: rouse.RetryPolicy{Tries: tries}}
	db.Append(t, account, money("Deposited", "1"))
	db.Drain(t, m)
	for range tries - 1 {
		require.False(t, db.Parked(t, "mails")[0].DueAt.IsZero())
		db.Advance(t, 2*time.Second)
		db.Drain(t, m)
	}
	require.Equal(t, tries, m.tries)
	require.True(t, db.Parked(t, "mails")[0].DueAt.IsZero())
	db.Advance(t, 24*time.Hour)
	db.Drain(t, m)
	require.Equal(t, tries, m.tries)
	m.fails = 0
	_, err := parked.Retry(t.Context(), db.Pool, parked.Filter{Projection: "mails"})
	require.NoError(t, err)
	db.Drain(t, m)
	require.Equal(t, []int64{1}, m.done)
}

func TestWorker_RunsBesideTheTestAndEndsWithIt(t *testing.T) {
	t.Parallel()
	db := rousetest.New(t, rousetest.Config{SQL: createBalances})
	var w *rousetest.Worker
	r := testdb.Record(t, func(t testing.TB) {
		w = db.Worker(t, rouse.Config{Projections: []rouse.Projection{balances{"b"}}})
		appended := db.Append(t, account, money("Deposited", "10"))
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		require.NoError(t, rouse.WaitFor(ctx, db.Pool, "b", appended))
		db.Expect(t, showBalances, rousetest.Row{"a", 10})
		require.NoError(t, w.Drain(ctx))
	})
	require.Empty(t, r.Failures)
	require.Error(t, w.Drain(t.Context()), "it has ended")
	w.Stop(t)
}

func TestWorker_ThatCannotBeginFailsTheTest(t *testing.T) {
	t.Parallel()
	db := rousetest.New(t, rousetest.Config{})
	_, err := db.Pool.Exec(t.Context(), "drop table events cascade")
	require.NoError(t, err)
	for _, f := range []func(t testing.TB){
		func(t testing.TB) { db.Worker(t, rouse.Config{Projections: []rouse.Projection{balances{"b"}}}) },
		func(t testing.TB) { db.Worker(t, rouse.Config{}) },
		func(t testing.TB) { db.Drain(t, balances{"b"}) },
		func(t testing.TB) { db.Drain(t, nameless{}) },
		func(t testing.TB) { db.Append(t, account, money("Deposited", "10")) },
		func(t testing.TB) { db.Append(t, account, 1) },
		func(t testing.TB) { db.Expect(t, "select * from events") },
	} {
		r := testdb.Record(t, f)
		require.NotEmpty(t, r.Failures)
		require.True(t, r.Ended)
		require.Contains(t, r.Failures[0], "rousetest: ")
	}
}

type nameless struct{}

func (nameless) Name() string { return "nothing" }
