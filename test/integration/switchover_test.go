//go:build unix

package integration_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/pgserver"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/test/checkout"
)

// twoSided is a primary and its standby, behind a name that follows a switchover late.
type twoSided struct {
	*stage           // on the server that was the primary first
	name    *address // what clients know
	servers [2]*pgserver.Server
	stages  [2]*stage
	primary atomic.Int32 // which of them takes writes
}

func newTwoSided(t *testing.T) *twoSided {
	t.Helper()
	a := testdb.Server(t, nil)
	s := newStage(t, testdb.On(t, a))
	b, err := a.Standby(s.ctx)
	require.NoError(t, err)
	testdb.StopAtCleanup(t, b)
	p := &twoSided{stage: s, name: newAddress(t, a.Port()), servers: [2]*pgserver.Server{a, b}}
	for i, server := range p.servers {
		address := server.URL(s.Name)
		p.stages[i] = &stage{DB: &testdb.DB{URL: address, Name: s.Name, Pool: s.pool(address)}, ctx: s.ctx, t: t}
	}
	return p
}

// now is the stage on the server that takes writes.
func (p *twoSided) now() *stage { return p.stages[p.primary.Load()] }

// old is the stage on the other one.
func (p *twoSided) old() *stage { return p.stages[1-p.primary.Load()] }

// switchOver makes the standby the primary and the primary its standby, in order. The name still leads to the same server.
func (p *twoSided) switchOver() {
	p.t.Helper()
	was := p.primary.Load()
	require.NoError(p.t, p.servers[was].Halt(p.ctx))
	require.NoError(p.t, p.servers[1-was].Promote(p.ctx))
	p.primary.Store(1 - was)
	require.NoError(p.t, p.servers[was].Follow(p.ctx, p.servers[1-was]))
}

// move lets the name lead to the primary. Connections that stand stay where they are.
func (p *twoSided) move() { p.name.target.Store(int64(p.servers[p.primary.Load()].Port())) }

// write appends one event after the other at whichever server takes writes, until stopped, and returns how many were acknowledged.
func (p *twoSided) write() (stop func() int) {
	ctx, cancel := context.WithCancel(p.ctx)
	acked := 0
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			if _, err := p.now().Pool.Exec(ctx, appendSQL, string(rune('a'+n%7)), 1); err == nil {
				acked++
			}
			select {
			case <-ctx.Done():
			case <-time.After(30 * time.Millisecond):
			}
		}
	})
	stop = sync.OnceValue(func() int { cancel(); wg.Wait(); return acked })
	p.t.Cleanup(func() { stop() })
	return stop
}

// A switchover in order, both ways and twice, behind a name that leads to the old primary for some seconds more, which is a
// standby by then. No event is lost or handled twice; a worker that cannot handle anything is not ready and says why; and once the
// name has moved it works, with no session left at the standby.
func TestSwitchoverBehindANameThatIsStaleForAWhile(t *testing.T) {
	t.Parallel()
	p := newTwoSided(t)
	log := &journal{}
	pool, _ := p.watchedPool(p.name.url(p.URL), func(cfg *pgxpool.Config) {
		cfg.ConnConfig.RuntimeParams["application_name"] = "by name"
	})
	w := p.start(pool, rouse.Config{
		Projections: []rouse.Projection{recorder{name: "single"}, batchRecorder{recorder{name: "batched"}}}, Log: zerolog.New(log),
	}).WaitStarted()
	probes := p.workerProcess()
	stop := p.write()
	for round := range 4 {
		testdb.Eventually(t, patience, "the worker to be ready", func() (bool, error) { return w.Health(p.ctx).Ready(), nil })
		p.switchOver()
		testdb.Eventually(t, patience, "the worker to say that it meets a standby", func() (bool, error) {
			h := w.Health(p.ctx)
			if !h.Alive() {
				return false, errors.New(strings.Join(h.Faults, ", "))
			}
			return strings.Contains(strings.Join(h.Waits, "\n"), "can only be read"), nil
		})
		testdb.Eventually(t, patience, "the process to be red, and to say why", func() (bool, error) {
			ready, why := readiness(probes)
			return !ready && strings.Contains(why, "can only be read"), nil
		})
		p.old().fill(pool) // all of its connections lead to the standby

		p.move()
		began := time.Now()
		from := p.now().int("select count(*) from events")
		p.now().eventually(patience, "what was appended meanwhile to be handled", `select count(*) >= $1 from (
			select from seen group by event_id having count(*) = 2) by_both`, from)
		p.old().eventually(patience, "no session to be left at the standby",
			"select count(*) = 0 from pg_stat_activity where application_name = 'by name'")
		testdb.Eventually(t, patience, "the workers to be ready again", func() (bool, error) {
			ready, _ := readiness(probes)
			return ready && w.Health(p.ctx).Ready(), nil
		})
		t.Logf("round %d: all is well %v after the name has moved", round, time.Since(began).Round(10*time.Millisecond))
	}
	acked := stop()
	p.now().exact("single")
	p.now().exact("batched")
	p.now().caughtUp("scalable_projection", patience)
	require.Equal(t, p.now().int("select count(*) from events"), p.now().int("select sum(events)::bigint from scaling_activity"))
	require.GreaterOrEqual(t, p.now().int("select count(*) from events"), int64(acked), "what was acknowledged is there")
	w.MustStop()
}

// A name is moved to a promoted standby while the old primary goes on, as when nobody fences it. Sessions to it live on, and one
// after the other the pool makes new ones: for a while it leads to both. The worker follows with all of its connections.
func TestNameThatMovesAwayFromAPrimaryThatGoesOn(t *testing.T) {
	t.Parallel()
	p := newTwoSided(t)
	pool, _ := p.watchedPool(p.name.url(p.URL))
	cfg := rouse.Config{Projections: []rouse.Projection{recorder{name: "single"}, batchRecorder{recorder{name: "batched"}}}, LeaseTTL: time.Second}
	w := p.start(pool, cfg).WaitStarted()
	p.append(p.Pool, "a")
	p.exact("single")
	p.exact("batched")
	p.fill(pool)
	isolate(p.ctx, t, p.stage, p.servers[0])
	require.NoError(t, p.servers[1].Promote(p.ctx))
	p.primary.Store(1)
	p.move()
	p.append(p.Pool, "left behind")
	p.exact("single") // nobody has told the worker yet
	conn, err := pool.Acquire(p.ctx)
	require.NoError(t, err)
	require.NoError(t, conn.Conn().Close(p.ctx)) // one that has come to its end
	conn.Release()
	pool.Reset()
	for range 3 {
		p.append(p.now().Pool, "b")
		p.now().exact("single")
		p.now().exact("batched")
	}
	p.now().eventually(patience, "the worker to be a member there", "select count(*) = 1 from rouse_members where alive")
	testdb.Eventually(t, patience, "it to be pushed there", func() (bool, error) { return w.Status().Mode == "quiet" && w.Health(p.ctx).Ready(), nil })
	w.MustStop()
}

// workerProcess starts the command as a worker behind the name, and returns the address that it answers probes at.
func (p *twoSided) workerProcess() (probes string) {
	p.t.Helper()
	probes = net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(p.t)))
	worker := exec.Command(checkout.Rouse(p.t), "worker", "--http", probes)
	worker.Env = append(os.Environ(), "DATABASE_URL="+p.name.url(p.URL))
	output := &bytes.Buffer{}
	worker.Stderr = output
	require.NoError(p.t, worker.Start())
	p.t.Cleanup(func() {
		_ = worker.Process.Signal(os.Interrupt)
		if err := worker.Wait(); err != nil || p.t.Failed() {
			p.t.Errorf("the worker: %v\n%s", err, output)
		}
	})
	testdb.Eventually(p.t, patience, "the process to be ready", func() (bool, error) {
		ready, why := readiness(probes)
		if !ready {
			return false, errors.New(why)
		}
		return true, nil
	})
	return probes
}

// readiness asks a process whether it is ready.
func readiness(address string) (ready bool, why string) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + address + "/readyz")
	if err != nil {
		return false, err.Error()
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return false, err.Error()
	}
	return answer.StatusCode == http.StatusOK, string(body)
}
