//go:build unix

package integration_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const signalTerm = syscall.SIGTERM

// often is how many times something is done: a few in ordinary runs, many in the stress form.
func often(few, many int) int {
	if os.Getenv("ROUSE_STRESS") != "" {
		return many
	}
	return few
}

// One worker, two, three, four, and back to one: the partitions are shared evenly, every worker has the events of its
// partitions and an aggregate one worker, nothing is lost, doubled or out of order, and nobody is told anything.
func TestElasticStressFromOneToFourAndBack(t *testing.T) {
	t.Parallel()
	c := newCrew(t, elasticOrder{})
	stop := c.steady(500)
	joins, leaves := times{what: "join to partitions as planned"}, times{what: "SIGTERM to the first event handled elsewhere"}
	shares := map[int][]int{1: {32}, 2: {16, 16}, 3: {11, 11, 10}, 4: {8, 8, 8, 8}}
	for n := 1; n <= 4; n++ {
		label := fmt.Sprintf("w%d", n)
		c.join(label)
		c.eventually(patience, label+" to register", "select exists (select from projection_workers where label = $1)", label)
		began := time.Now()
		c.settled(shares[n]...)
		joins.add(time.Since(began))
		c.sharesOfEvents(n, shares[n])
	}
	for n := 4; n > 1; n-- {
		label := fmt.Sprintf("w%d", n)
		given, since := c.partitionsOf(label), c.now()
		c.leave(label)
		leaves.add(c.takenOver(since, label, given))
		c.settled(shares[n-1]...)
		c.sharesOfEvents(n-1, shares[n-1])
	}
	joins.print(t)
	leaves.print(t)
	stop()
	c.exact(elasticProjection)
}

// sharesOfEvents wants every event to be handled by the owner of its partition while nobody comes or goes, and prints how
// far the shares of events are from the shares of partitions.
func (c *crew) sharesOfEvents(workers int, partitions []int) {
	c.t.Helper()
	since := c.now()
	by := c.handledSince(since, 1000)
	assert.Len(c.t, by, workers)
	total := 0
	for _, n := range by {
		total += n
	}
	furthest := 0.0
	for label := range c.workers {
		off := 100*float64(by[label])/float64(total) - 100*float64(len(c.partitionsOf(label)))/32
		furthest = max(furthest, off, -off)
	}
	c.t.Logf("%d workers with %v partitions: shares of %d events at most %.1f points off", workers, partitions, total, furthest)
	assert.Less(c.t, furthest, 10.0)
	assert.Zero(c.t, c.int(`select count(*) from seen s join events e using (global_position)
		join projection_checkpoints c on c.projection_name = s.projection and c.partition = e.slot % 32
		join projection_workers w on w.instance_id = c.owner
		where s.projection = $1 and e.created_at > $2 and s.worker <> w.label`, elasticProjection, since), "events handled by another than the owner")
}

// A worker is killed at a random moment, again and again. Others go on with its partitions, and it may come back under its
// label at once.
func TestElasticStressKilled(t *testing.T) {
	t.Parallel()
	c := newCrew(t, elasticOrder{})
	for i := range 3 {
		c.join(fmt.Sprintf("w%d", i))
	}
	c.settled(11, 11, 10)
	stop := c.steady(300)
	c.handledSince(c.now(), 50)
	took := times{what: "SIGKILL to the first event of a lost partition handled elsewhere"}
	for range often(5, 100) {
		pauseFor(c.ctx, time.Duration(rand.Int64N(int64(300*time.Millisecond))))
		victim := fmt.Sprintf("w%d", rand.IntN(3))
		lost := c.partitionsOf(victim)
		since := c.now()
		c.kill(victim)
		took.add(c.takenOver(since, victim, lost))
		c.settled(16, 16)
		c.join(victim)
		c.settled(11, 11, 10)
	}
	took.print(t)
	stop()
	c.exact(elasticProjection)
}

// A worker is frozen in the middle of its transactions for longer than its lease, and thawed when others have its partitions.
// Nothing that it still does commits, and it rejoins by itself.
func TestElasticStressFrozen(t *testing.T) {
	t.Parallel()
	c := newCrew(t, elasticOrder{TTL: time.Second, Plain: true})
	for i := range 3 {
		c.join(fmt.Sprintf("w%d", i))
	}
	c.settled(11, 11, 10)
	stop := c.steady(300)
	c.handledSince(c.now(), 50)
	took := times{what: "SIGSTOP to the first event of a lost partition handled elsewhere, with a lease of 1 s"}
	for range often(2, 50) {
		pauseFor(c.ctx, time.Duration(rand.Int64N(int64(300*time.Millisecond))))
		victim := fmt.Sprintf("w%d", rand.IntN(3))
		lost := c.partitionsOf(victim)
		since := c.now()
		require.NoError(t, c.workers[victim].Signal(syscall.SIGSTOP))
		took.add(c.takenOver(since, victim, lost))
		c.settled(16, 16)
		require.NoError(t, c.workers[victim].Signal(syscall.SIGCONT))
		c.settled(11, 11, 10)
	}
	took.print(t)
	stop()
	c.exact(elasticProjection)
}

// Every worker is replaced by another, as in a deployment, under load.
func TestElasticRollingRestart(t *testing.T) {
	t.Parallel()
	c := newCrew(t, elasticOrder{})
	for i := range 4 {
		c.join(fmt.Sprintf("old%d", i))
	}
	c.settled(8, 8, 8, 8)
	stop := c.steady(300)
	for i := range 4 {
		c.join(fmt.Sprintf("new%d", i))
		c.settled(7, 7, 6, 6, 6)
		c.leave(fmt.Sprintf("old%d", i))
		c.settled(8, 8, 8, 8)
	}
	c.handledSince(c.now(), 50)
	stop()
	c.exact(elasticProjection)
}
