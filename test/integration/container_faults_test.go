//go:build unix

package integration_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/test/containers"
)

// containerFault is something that happens to a server in a container, from its beginning until the server is back.
type containerFault struct {
	name string
	do   func(ctx context.Context, server testdb.Machine) error
}

// containerFaults are all of them; ordinary runs leave out the last, for the time that it takes.
var containerFaults = []containerFault{
	{"killed", func(ctx context.Context, server testdb.Machine) error {
		if err := server.Crash(ctx); err != nil {
			return err
		}
		return server.Restart(ctx)
	}},
	{"restarted", func(ctx context.Context, server testdb.Machine) error {
		if err := server.Halt(ctx); err != nil {
			return err
		}
		return server.Restart(ctx)
	}},
	{"paused", func(ctx context.Context, server testdb.Machine) error {
		if err := server.Pause(); err != nil {
			return err
		}
		pauseFor(ctx, 1500*time.Millisecond) // longer than a heartbeat, shorter than any deadline
		return server.Resume()
	}},
	{"paused for longer than a lease, and killed", func(ctx context.Context, server testdb.Machine) error {
		if err := server.Pause(); err != nil {
			return err
		}
		pauseFor(ctx, 2500*time.Millisecond)
		if err := server.Crash(ctx); err != nil {
			return err
		}
		return server.Restart(ctx)
	}},
}

// The container of the server is killed, restarted and paused under processes of workers and under appends. On every version
// of PostgreSQL in the matrix no acknowledged append is lost, and every event is handled once and in order.
func TestContainerFaultsUnderLoad(t *testing.T) {
	t.Parallel()
	containers.Each(t, nil, func(t *testing.T, server *containers.Server) {
		c := newCrewOn(t, testdb.On(t, server), elasticOrder{TTL: 2 * time.Second})
		c.join("w0")
		c.join("w1")
		c.settled(16, 16)
		load := c.startLoad(c.pool(c.URL), 4, 3*time.Millisecond)
		for _, fault := range containerFaults[:often(3, len(containerFaults))] {
			load.more(t, 50)
			require.NoError(t, fault.do(c.ctx, server), fault.name)
			back := time.Now()
			c.Pool.Reset()
			c.handledAgain()
			t.Logf("PostgreSQL %s %s: events are handled again %v after it was back", server.Version(), fault.name, time.Since(back).Round(time.Millisecond))
		}
		load.more(t, 50)
		load.stop()
		c.exact(elasticProjection)
		c.durable(load)
		c.settled(16, 16)
		c.leave("w0")
		c.leave("w1")
		c.exact(elasticProjection)
		t.Logf("PostgreSQL %s: %d events acknowledged, all of them handled once and in order", server.Version(), load.committed())
	})
}

// handledAgain waits until an event that is appended now is handled.
func (c *crew) handledAgain() {
	c.t.Helper()
	position := c.append(c.Pool, "again")
	c.eventually(patience, "an event appended now to be handled", "select exists (select from seen where projection = $1 and global_position = $2)",
		elasticProjection, position)
}
