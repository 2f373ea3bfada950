package rouse_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/testdb"
	operator "github.com/rouse-es/rouse/projection"
)

// asked is what all connections of a worker have sent, by kind and in order.
type asked struct {
	mu    sync.Mutex
	kinds []string
}

func (a *asked) add(texts ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, sql := range texts {
		kind := sql
		switch {
		case strings.Contains(sql, ".projection_workers as w"), strings.Contains(sql, "projection_workers\" as w"):
			kind = "heartbeat"
		case strings.Contains(sql, "pg_notification_queue_usage"):
			kind = "probe"
		}
		a.kinds = append(a.kinds, kind)
	}
}

// between waits for n heartbeats, and returns what was sent from the first to the last of them beside heartbeats and probes.
func (a *asked) between(t *testing.T, n int) (others []string) {
	t.Helper()
	a.mu.Lock()
	a.kinds = nil
	a.mu.Unlock()
	testdb.Eventually(t, patience, "some heartbeats", func() (bool, error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		first, beats := slices.Index(a.kinds, "heartbeat"), 0
		others = nil
		for _, kind := range a.kinds[max(first, 0):] {
			switch kind {
			case "heartbeat":
				if beats++; beats == n {
					return true, nil
				}
			case "probe":
			default:
				others = append(others, kind)
			}
		}
		return false, nil
	})
	return others
}

// traced is a pool whose connections, and those that a worker has beside it, tell what they send.
func (b *bundle) traced() (*pgxpool.Pool, *asked) {
	b.t.Helper()
	cfg, err := pgxpool.ParseConfig(b.URL)
	require.NoError(b.t, err)
	a := &asked{}
	cfg.ConnConfig.Tracer = testdb.Sent(a.add)
	pool, err := pgxpool.NewWithConfig(b.t.Context(), cfg)
	require.NoError(b.t, err)
	b.t.Cleanup(pool.Close)
	return pool, a
}

// quiet waits until a worker says by its heartbeat that the next one will be late.
func (b *bundle) quiet(valid time.Duration) {
	b.t.Helper()
	testdb.Eventually(b.t, patience, "the worker to rest", func() (bool, error) {
		return b.int("select count(*) from projection_workers where valid_ms = $1", valid.Milliseconds()) == 1, nil
	})
}

// Between two heartbeats, 12 s apart, a worker from which nobody takes over sends a probe or two of the push, and a poll at most,
// which is one statement, or six if it looks at all that is to be looked at.
func TestStaticWorkerAtRestAsksForNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	pool, asked := b.traced()
	b.start(pool, rouse.Config{TotalWorkers: 1, Projections: []rouse.Projection{projection{name: "p"}}}).WaitStarted()
	b.quiet(30 * time.Second)
	// Not the first time: soon after its start a worker polls more often.
	testdb.Eventually(t, patience, "a heartbeat with one poll at most behind the last", func() (bool, error) {
		others := asked.between(t, 2)
		if len(others) <= 6 {
			return true, nil
		}
		return false, fmt.Errorf("%q", others)
	})
}

// What an operator asks for is told, so nobody need ask for it.
func TestStaticWorkerAtRestHearsOperators(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := b.start(b.Pool, rouse.Config{TotalWorkers: 1, IdleInterval: time.Hour, Projections: []rouse.Projection{projection{name: "p"}}}).WaitStarted()
	b.quiet(150 * time.Minute)
	require.NoError(t, operator.Pause(t.Context(), b.Pool, "p"))
	r.WaitState("p", rouse.StatePaused)
}

// Once in an IdleInterval come a heartbeat, which finds an event that nobody was told of, and a probe, and nothing else at all.
func TestWorkerWithAnIdleIntervalSendsAHeartbeatAndAProbe(t *testing.T) {
	t.Parallel()
	b := setup(t)
	pool, asked := b.traced()
	const idle = 7 * time.Second // a tenth of the pause between two polls, which is longer than anybody waits here
	b.start(pool, rouse.Config{IdleInterval: idle, Projections: []rouse.Projection{projection{name: "p"}}}).WaitStarted()
	b.append("First")
	b.quiet(idle * 5 / 2)
	testdb.Eventually(t, patience, "the shares to have been quiet for a while", func() (bool, error) {
		return len(asked.between(t, 2)) == 0, nil
	})
	assert.Empty(t, asked.between(t, 3))
	b.exec("alter table events disable trigger rouse_append_after")
	untold := b.append("Untold")
	testdb.Eventually(t, patience, "the event to be found", func() (bool, error) { return slices.Contains(b.done("p"), untold), nil })
}
