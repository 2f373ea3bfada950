package listener_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
)

// maxJitter is the most that a step of a round is put off. It is about as long as the steps themselves take.
const maxJitter = 1500 * time.Microsecond

func jitter(random *rand.Rand) time.Duration {
	return time.Duration(random.Int64N(int64(maxJitter)))
}

// An append that found nobody asleep may commit after the reader has armed and read, and notifies nobody. No event may wait
// for the next poll because of that, in whatever order the steps of both sides fall.
func TestArming_NoEventWaitsForAPoll(t *testing.T) {
	t.Parallel()
	t.Run("settled", func(t *testing.T) {
		t.Parallel()
		rounds := 2000
		if stress() {
			rounds = 50_000
		}
		lost, events := race(t, rounds, false)
		t.Logf("%d rounds, %d events, %d waited for a poll", rounds, events, lost)
		assert.Zero(t, lost, "events that waited for a poll")
		assert.Greater(t, events, rounds)
	})
	t.Run("naive", func(t *testing.T) {
		t.Parallel()
		const rounds = 300
		for range 10 { // about 20 events are lost in each
			lost, events := race(t, rounds, true)
			t.Logf("%d rounds, %d events, %d waited for a poll", rounds, events, lost)
			if lost > 0 {
				return
			}
		}
		t.Error("this race has to be able to lose wakes")
	})
}

// An append that takes its position between the head and S would be above the head and notify nobody.
func TestArming_LooksAtTheHeadWhenItHasS(t *testing.T) {
	t.Parallel()
	b := setup(t)
	s := b.sleeper(t, b.listen(t), false)
	pid := int32(s.ears.conn.PgConn().PID())
	var err error
	for range 5 { // arming does not wait for more than two seconds, which is little on a busy machine
		gate, beginErr := b.Pool.Begin(b.ctx)
		require.NoError(t, beginErr)
		_, err = gate.Exec(b.ctx, "alter sequence events_global_position_seq no cycle") // so that looking at it waits
		require.NoError(t, err)
		armed := make(chan error, 1)
		go func() { armed <- s.handler.Arm(b.ctx) }()
		testdb.Eventually(t, patience, "arming to wait for the head, or to give up", func() (waits bool, err error) {
			err = b.Pool.QueryRow(b.ctx, "select cardinality(pg_blocking_pids($1)) > 0", pid).Scan(&waits)
			return waits || len(armed) > 0, err
		})
		held := b.sleepers(t)
		require.NoError(t, gate.Rollback(b.ctx))
		if err = <-armed; err == nil {
			require.Equal(t, []int32{pid}, held, "it has S before it has the head")
			require.Equal(t, b.head(t), s.state().ArmedHead)
			break
		}
	}
	require.NoError(t, err)
}

// race runs rounds of: arm, read, sleep, wake, while an appender of each isolation level appends one event at about the
// same time. It returns how many of the committed events nobody woke the reader for.
func race(t *testing.T, rounds int, naive bool) (lost, events int) {
	b := setup(t)
	b.append(t)
	s := b.sleeper(t, b.listen(t, wakeChannel(b.log.Events)), naive)
	var appenders []*appender
	for i, isolation := range isolations {
		appenders = append(appenders, b.appender(t, isolation, string(rune('a'+i))))
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range rounds {
		committed := s.race(t, appenders, random)
		events += len(committed)
		if missing := s.missing(committed); missing > 0 {
			lost += missing
			s.recover(t)
		}
		clear(s.seen)
		require.NoError(t, s.handler.Disarm(b.ctx))
	}
	return lost, events
}

// race is one round. It returns the positions of the events that were committed.
func (s *sleeper) race(t *testing.T, appenders []*appender, random *rand.Rand) (committed []int64) {
	var r round
	for _, a := range appenders {
		j := jitters{start: jitter(random), open: jitter(random), rollback: random.IntN(10) == 0}
		r.appends.Go(func() { r.append(s.b.ctx, a, j) })
	}
	var done sync.WaitGroup
	defer done.Wait() // also if the test fails
	done.Go(func() {
		r.appends.Wait()
		_, err := s.b.Pool.Exec(s.b.ctx, "select pg_notify($1, '')", barrier)
		assert.NoError(t, err)
	})
	<-time.After(jitter(random))
	require.NoError(t, s.handler.Arm(s.b.ctx))
	s.fallAsleep(t)
	s.sleep(t)
	done.Wait()
	require.NoError(t, r.err)
	return r.committed
}

// jitters are what makes one append of a round differ from the others.
type jitters struct {
	start, open time.Duration
	rollback    bool
}

// round is what the appenders of one round have done.
type round struct {
	appends sync.WaitGroup

	mu        sync.Mutex // protects the fields below
	committed []int64
	err       error
}

func (r *round) append(ctx context.Context, a *appender, j jitters) {
	position, err := r.appendOne(ctx, a, j)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.err = err
	} else if !j.rollback {
		r.committed = append(r.committed, position)
	}
}

func (r *round) appendOne(ctx context.Context, a *appender, j jitters) (position int64, err error) {
	<-time.After(j.start)
	tx, err := a.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { _ = tx.Rollback(ctx) }()
	if position, err = a.insert(ctx, tx); err != nil {
		return 0, err
	}
	<-time.After(j.open)
	if j.rollback {
		return 0, tx.Rollback(ctx)
	}
	return position, tx.Commit(ctx)
}
