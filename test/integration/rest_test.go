//go:build unix

package integration_test

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	operator "github.com/rouse-es/rouse/projection"
)

// In these tests a worker at rest asks for nothing in an hour (IdleInterval): what it notices, it was told, or an event has led
// to it.
const never = time.Hour

// atRest waits until all workers have come to rest, as a heartbeat that is valid for long says, and until nothing has been claimed
// for longer than they go on to look at the shares by themselves.
func (c *crew) atRest(workers int) {
	c.t.Helper()
	c.eventually(patience, "all workers to rest", `select count(*) filter (where valid_ms > 3600000) = $1 and count(*) = $1
		and (select max(updated_at) < clock_timestamp() - interval '12 seconds' from projection_checkpoints) from projection_workers`, workers)
}

// atLeisure is atRest for a worker without an IdleInterval, which is known by its slower heartbeats.
func (c *crew) atLeisure(label string) {
	c.t.Helper()
	c.eventually(patience, label+" to rest",
		"select exists (select from projection_workers where label = $1 and heartbeat_at < clock_timestamp() - interval '1300 ms')", label)
}

// lostBy returns the name of an aggregate in one of a label's partitions.
func (c *crew) lostBy(label string) string {
	c.t.Helper()
	owned := c.partitionsOf(label)
	require.NotEmpty(c.t, owned)
	return c.aggregateIn(owned[rand.IntN(len(owned))], 32)
}

// handledByOthers waits until a worker other than one has handled the event at a position.
func (c *crew) handledByOthers(position int64, than string) {
	c.t.Helper()
	c.eventually(patience, "others to handle it", "select exists (select from seen where global_position = $1 and worker <> $2)", position, than)
}

// TestOwnerKilledAtRestIsReplacedByTheFirstEvent: nobody looks at the members for hours, and whoever is woken by an event does.
func TestOwnerKilledAtRestIsReplacedByTheFirstEvent(t *testing.T) {
	t.Parallel()
	c := newCrew(t, elasticOrder{Idle: never})
	c.join("w0")
	c.join("w1")
	c.settled(16, 16)
	c.atRest(2)
	lost := c.lostBy("w0")
	c.kill("w0")
	c.handledByOthers(c.append(c.Pool, lost), "w0")
	c.settled(32)
	c.exact(elasticProjection)
}

// TestOwnerKilledInALongCallIsReplaced: the event was long ago, and the others would sleep by now if nobody had told them of
// the call.
func TestOwnerKilledInALongCallIsReplaced(t *testing.T) {
	t.Parallel()
	c := newCrew(t, elasticOrder{Idle: never, Holds: true})
	c.join("w0")
	c.order.Holds = false
	c.join("w1")
	c.settled(16, 16)
	c.atRest(2)
	position := c.append(c.Pool, c.lostBy("w0"))
	c.eventually(patience, "the call to last for longer than an event keeps anybody awake", `select working and exists (
		select from events where created_at < clock_timestamp() - interval '5 seconds') from projection_workers where label = 'w0'`)
	c.kill("w0")
	c.handledByOthers(position, "w0")
	c.exact(elasticProjection)
}

// TestJoinAtRestIsTold: whoever rests gives the new one its share all the same.
func TestJoinAtRestIsTold(t *testing.T) {
	t.Parallel()
	c := newCrew(t, elasticOrder{Idle: never})
	c.join("w0")
	c.settled(32)
	c.atRest(1)
	c.join("w1")
	c.settled(16, 16)
	c.atRest(2)
	c.leave("w0")
	c.settled(32)
}

// TestOperatorsAreHeardAtRest: they pause a projection, resume it and change its partitions, and whoever rests does it.
func TestOperatorsAreHeardAtRest(t *testing.T) {
	t.Parallel()
	c := newCrew(t, elasticOrder{Idle: never})
	c.join("w0")
	c.settled(32)
	c.atRest(1)
	state := func(is string) {
		c.t.Helper()
		c.eventually(patience, "the projection to be "+is, "select states ->> $1 = $2 from projection_workers", elasticProjection, is)
	}
	require.NoError(t, operator.Pause(c.ctx, c.Pool, elasticProjection))
	state("paused")
	c.atRest(1)
	require.NoError(t, operator.Resume(c.ctx, c.Pool, elasticProjection))
	state("live")
	c.settled(32)
	c.atRest(1)
	_, err := operator.Resize(c.ctx, c.Pool, elasticProjection, 64)
	require.NoError(t, err)
	c.settled(64)
}

// TestOwnerFrozenAtRestIsReplaced: its heartbeats stop, at rest as under load.
func TestOwnerFrozenAtRestIsReplaced(t *testing.T) {
	t.Parallel()
	c := newCrew(t, elasticOrder{TTL: 2 * time.Second})
	c.join("w0")
	c.join("w1")
	c.settled(16, 16)
	c.append(c.Pool, "before")
	c.exact(elasticProjection)
	lost := c.lostBy("w0")
	require.NoError(t, c.workers["w0"].Signal(syscall.SIGSTOP))
	c.handledByOthers(c.append(c.Pool, lost), "w0")
	c.settled(32)
	require.NoError(t, c.workers["w0"].Signal(syscall.SIGCONT))
	c.settled(16, 16)
	c.exact(elasticProjection)
}

// TestPollingWorkersLookAtRest: nobody tells them anything.
func TestPollingWorkersLookAtRest(t *testing.T) {
	t.Parallel()
	c := newCrew(t, elasticOrder{PollOnly: true})
	c.join("w0")
	c.join("w1")
	c.settled(16, 16)
	c.atLeisure("w0")
	lost := c.lostBy("w0")
	c.kill("w0")
	c.handledByOthers(c.append(c.Pool, lost), "w0")
	c.join("w2")
	c.settled(16, 16)
	c.exact(elasticProjection)
}

// TestTakeoverAtRestIsMeasured: a worker is killed at rest, and one of its events comes a moment later.
func TestTakeoverAtRestIsMeasured(t *testing.T) {
	t.Parallel()
	c := newCrew(t, elasticOrder{})
	for i := range 3 {
		c.join(fmt.Sprintf("w%d", i))
	}
	c.settled(11, 11, 10)
	took := times{what: "at rest, from an append just after SIGKILL to its being handled elsewhere"}
	for range often(2, 30) {
		pauseFor(c.ctx, 5*time.Second+time.Duration(rand.Int64N(int64(2*time.Second))))
		victim := fmt.Sprintf("w%d", rand.IntN(3))
		lost := c.lostBy(victim)
		c.kill(victim)
		took.add(c.tookFor(c.append(c.Pool, lost), victim))
		c.settled(16, 16)
		c.join(victim)
		c.settled(11, 11, 10)
	}
	took.print(t)
	c.exact(elasticProjection)
}

// TestTakeoverAtTenEventsIsMeasured: a worker is killed while ten events come in a second.
func TestTakeoverAtTenEventsIsMeasured(t *testing.T) {
	t.Parallel()
	c := newCrew(t, elasticOrder{})
	for i := range 3 {
		c.join(fmt.Sprintf("w%d", i))
	}
	c.settled(11, 11, 10)
	took := times{what: "at 10 events/s, from the first append after SIGKILL to its being handled elsewhere"}
	for range often(2, 30) {
		for range 10 + rand.IntN(20) {
			c.append(c.Pool, fmt.Sprintf("a%d", rand.IntN(1000)))
			pauseFor(c.ctx, 100*time.Millisecond)
		}
		victim := fmt.Sprintf("w%d", rand.IntN(3))
		lost := c.lostBy(victim)
		c.kill(victim)
		took.add(c.tookFor(c.append(c.Pool, lost), victim))
		c.settled(16, 16)
		c.join(victim)
		c.settled(11, 11, 10)
	}
	took.print(t)
	c.exact(elasticProjection)
}

// tookFor waits until another worker has handled the event at a position, and returns how long after its append that was.
func (c *crew) tookFor(position int64, than string) time.Duration {
	c.t.Helper()
	c.handledByOthers(position, than)
	var seconds float64
	require.NoError(c.t, c.Pool.QueryRow(c.ctx, `select extract(epoch from s.at - e.created_at)::float8
		from seen s join events e using (global_position) where global_position = $1`, position).Scan(&seconds))
	return time.Duration(seconds * float64(time.Second))
}
