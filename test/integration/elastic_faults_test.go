package integration_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
)

// pair is two elastic workers that share a projection, each with a pool of its own.
type pair struct {
	*stage
	first, second *running
	pool          *pgxpool.Pool // of the first
}

func newPair(t *testing.T, ttl time.Duration) *pair {
	t.Helper()
	if ttl == 0 {
		ttl = 20 * time.Second // so long that a machine which stands still costs none
	}
	p := &pair{stage: newStage(t, testdb.New(t))}
	p.pool = p.stage.pool(p.URL)
	p.first = p.start(p.pool, rouse.Config{Projections: []rouse.Projection{recorder{name: "r", worker: "first"}}, Label: "first", LeaseTTL: ttl}).WaitStarted()
	p.second = p.start(p.stage.pool(p.URL), rouse.Config{Projections: []rouse.Projection{recorder{name: "r", worker: "second"}}, Label: "second", LeaseTTL: ttl}).WaitStarted()
	p.even()
	// Shares may be even before the last of them has begun a new session, with epochs of its own.
	// The first has claimed all, and claims what it keeps anew once it has given up the rest.
	p.eventually(patience, "nobody to claim any more", "select min(epoch) >= 2 from projection_checkpoints")
	return p
}

func (p *pair) even() {
	p.t.Helper()
	testdb.Eventually(p.t, patience, "even shares", func() (bool, error) { return slices.Equal(p.owned("r"), []int{16, 16}), nil })
}

// epochs is the sum of all epochs, which rises whenever anything changes hands.
func (p *pair) epochs() int64 { return p.int("select sum(epoch)::bigint from projection_checkpoints") }

// Backends of the first worker: of the two sessions that hold its presence, control is the one that does not hold the
// sleepers' lock ('rouS').
const (
	controlSQL = `select pid from pg_locks p where locktype = 'advisory' and objsubid = 2 and classid = 1919907152 and granted
		and objid = (select presence::oid from projection_workers where label = 'first')
		and not exists (select from pg_locks s where s.pid = p.pid and s.objsubid = 2 and s.classid = 1919907155)`
	armedSQL = `select exists (select from projection_workers where label = 'first' and mode = 'quiet')
		and (select count(*) = 2 from pg_locks p where objsubid = 2 and classid = 1919907152 and granted
			and objid = (select presence::oid from projection_workers where label = 'first'))`
)

func TestLossOfTheControlConnectionAloneMovesNothing(t *testing.T) {
	t.Parallel()
	p := newPair(t, 0)
	p.eventually(patience, "both sessions to hold the presence", armedSQL)
	before := p.epochs()
	control := p.int(controlSQL)
	p.exec("select pg_terminate_backend($1)", control)
	p.eventually(patience, "another control session", "select exists ("+controlSQL+" and pid <> $1)", control)
	p.append(p.Pool, "after")
	p.exact("r")
	require.Equal(t, before, p.epochs())
}

// While the control connection cannot be had, heartbeats do not get through. The worker gives up before others may take over,
// and is back when it can.
func TestWorkerThatCannotSendHeartbeatsGivesUp(t *testing.T) {
	t.Parallel()
	p := newPair(t, 2*time.Second)
	load := p.startLoad(p.stage.pool(p.URL), 2, 5*time.Millisecond)
	ctx, stop := context.WithCancel(p.ctx)
	cut := make(chan struct{})
	go func() { // as soon as there is a control session, it is gone
		defer close(cut)
		for ctx.Err() == nil {
			_, _ = p.Pool.Exec(ctx, "select pg_terminate_backend(pid) from ("+controlSQL+") c")
			pauseFor(ctx, time.Millisecond)
		}
	}()
	gaveUp := func() bool { return p.first.Status().States["r"] == rouse.StateRetrying }
	testdb.Eventually(t, patience, "the worker to stop relying on its partitions", func() (bool, error) { return gaveUp(), nil })
	testdb.Eventually(t, patience, "the other one to take them", func() (bool, error) {
		return p.int("select count(*) from projection_checkpoints c join projection_workers w on w.instance_id = c.owner where w.label = 'second'") == 32, nil
	})
	load.more(t, 50)
	stop()
	<-cut
	p.even()
	load.more(t, 50)
	load.stop()
	p.exact("r")
}

func TestLossOfTheWorkingConnectionsAloneMovesNothingElse(t *testing.T) {
	t.Parallel()
	p := newPair(t, 0)
	p.eventually(patience, "both sessions to hold the presence", armedSQL)
	second := "(select sum(epoch)::bigint from projection_checkpoints c join projection_workers w on w.instance_id = c.owner where w.label = 'second')"
	before := p.int("select " + second)
	load := p.startLoad(p.stage.pool(p.URL), 2, 5*time.Millisecond)
	for range 5 {
		p.exec(`select pg_terminate_backend(pid) from pg_locks where objsubid = 2 and classid = 1919907159
			and objid = (select presence::oid from projection_workers where label = 'first')`)
		load.more(t, 20)
	}
	load.stop()
	p.exact("r")
	require.Equal(t, before, p.int("select "+second))
	require.Equal(t, []int{16, 16}, p.owned("r"))
}

// User code takes all connections of the pool for longer than a lease. Heartbeats have a connection of their own, so nobody
// takes the partitions, and work goes on when there are connections again.
func TestDrainedPoolDoesNotCostALease(t *testing.T) {
	t.Parallel()
	const lease = 20 * time.Second // so long that a busy machine does not cost one
	p := newPair(t, lease)
	before := p.epochs()
	var taken []*pgxpool.Conn
	for range p.pool.Config().MaxConns {
		conn, err := p.pool.Acquire(p.ctx)
		require.NoError(t, err)
		t.Cleanup(conn.Release)
		taken = append(taken, conn)
	}
	beats := func() int64 {
		return p.int("select (extract(epoch from heartbeat_at) * 1000)::bigint from projection_workers where label = 'first'")
	}
	from := beats()
	testdb.Eventually(t, patience, "heartbeats for longer than a lease", func() (bool, error) { return beats() > from+lease.Milliseconds()+500, nil })
	require.Equal(t, before, p.epochs())
	for _, conn := range taken {
		conn.Release()
	}
	p.append(p.Pool, "after")
	p.exact("r")
	require.Equal(t, []int{16, 16}, p.owned("r"))
}

// A handler that ignores the end of its context costs its worker the partition and nothing else: another worker handles the
// event, and the partition comes back when the handler does.
func TestHandlerThatDoesNotComeBackLosesItsPartition(t *testing.T) {
	t.Parallel()
	s := newStage(t, testdb.New(t))
	release := make(chan struct{})
	stuck := make(chan struct{}, 1)
	hang := func(_ context.Context, _ pgx.Tx, ev eventstore.Event) error {
		if ev.Type == "hang" {
			stuck <- struct{}{}
			<-release
		}
		return nil
	}
	s.start(s.pool(s.URL), rouse.Config{Projections: []rouse.Projection{recorder{name: "r", worker: "first", hook: hang}}, Label: "first", HandlerTimeout: 200 * time.Millisecond}).WaitStarted()
	s.int(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values ('thing', 'stuck', 1, 'hang', '{}') returning global_position`)
	<-stuck
	s.eventually(patience, "its partition to be given up", "select count(*) = 1 from projection_checkpoints where owner is null")
	for i := range 100 {
		s.append(s.Pool, fmt.Sprintf("a%d", i))
	}
	s.eventually(patience, "the other partitions to go on", `select count(*) >= 90 from seen where worker = 'first'`)
	require.Zero(t, s.int("select count(*) from seen where aggregate_id = 'stuck'"))

	second := s.start(s.pool(s.URL), rouse.Config{Projections: []rouse.Projection{recorder{name: "r", worker: "second"}}, Label: "second"}).WaitStarted()
	s.eventually(patience, "another one to handle the event", "select exists (select from seen where aggregate_id = 'stuck' and worker = 'second')")
	second.MustStop()
	s.eventually(patience, "the partition to be nobody's", "select count(*) = 1 from projection_checkpoints where owner is null")
	close(release)
	s.eventually(patience, "the partition to be taken again", "select count(*) = 0 from projection_checkpoints where owner is null")
	s.exact("r")
}
