package integration_test

import (
	"net/url"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/testdb"
)

// outage is how long the server is away: in the stress run long enough for every pause between attempts to grow to its longest.
func outage() time.Duration {
	if os.Getenv("ROUSE_STRESS") != "" {
		return 2 * time.Minute
	}
	return 4 * time.Second
}

// knocksPerSecond is the most connections that a worker may ask for while it gets none: far above what it does with growing
// pauses, and far below what it would do without any.
const knocksPerSecond = 15

// front is a fixed address before the server of a stage.
func (s *stage) front() *address {
	s.t.Helper()
	server, err := url.Parse(s.URL)
	require.NoError(s.t, err)
	port, err := strconv.Atoi(server.Port())
	require.NoError(s.t, err)
	return newAddress(s.t, port)
}

// patientlyRefused waits for a while in which a worker gets no connection, and says that it asked for some and not for many.
func (a *address) patientlyRefused(t *testing.T, d time.Duration) {
	t.Helper()
	before := a.knocks.Load()
	<-time.After(d)
	asked := a.knocks.Load() - before
	t.Logf("asked %d times in %v", asked, d)
	require.Positive(t, asked, "it does not give up")
	require.Less(t, asked, int64(d.Seconds()*knocksPerSecond), "and does not keep the server busy with it")
}

// A server that is away for long is asked for now and then, and when it is back, everything goes on by itself.
func TestStressServerAwayForLong(t *testing.T) {
	t.Parallel()
	server := testdb.Server(t, nil)
	s := newStage(t, testdb.On(t, server))
	front := s.front()
	w := s.start(s.pool(front.url(s.URL)), rouse.Config{
		Projections: []rouse.Projection{batchRecorder{recorder{name: "batched"}}, recorder{name: "single"}},
	}).WaitStarted()
	s.append(s.Pool, "a")
	s.exact("batched")
	s.exact("single")
	before := s.int("select sum(epoch)::bigint from projection_checkpoints")

	require.NoError(t, server.Halt(s.ctx))
	w.WaitState("batched", rouse.StateRetrying)
	w.WaitState("single", rouse.StateRetrying)
	front.patientlyRefused(t, outage())
	require.NoError(t, server.Restart(s.ctx))
	s.Pool.Reset()
	s.append(s.Pool, "a")
	s.exact("batched")
	s.exact("single")
	testdb.Eventually(t, patience, "the push to be back", func() (bool, error) { return w.Status().Mode == "quiet", nil })
	require.Greater(t, s.int("select sum(epoch)::bigint from projection_checkpoints"), before, "it has claimed anew")
	w.MustStop()
}

// A role that may not connect any more makes no storm of attempts, and works again when it may.
func TestRevokedConnectMakesNoStorm(t *testing.T) {
	t.Parallel()
	server := testdb.Server(t, nil) // of its own, because roles are the server's
	s := newStage(t, testdb.On(t, server))
	s.exec("create role hand login password '" + testdb.Password + "'")
	s.exec("grant pg_read_all_data, pg_write_all_data to hand")
	s.exec("revoke connect on database " + s.Name + " from public")
	s.exec("grant connect on database " + s.Name + " to hand")
	front := s.front()
	address := testdb.As(t, front.url(s.URL), "hand")
	w := s.start(s.pool(address), rouse.Config{Projections: []rouse.Projection{recorder{name: "r"}}}).WaitStarted()
	s.append(s.Pool, "a")
	s.exact("r")

	s.exec("revoke connect on database " + s.Name + " from hand")
	s.exec("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'hand'")
	w.WaitState("r", rouse.StateRetrying)
	front.patientlyRefused(t, 4*time.Second)
	s.append(s.Pool, "a")
	require.Len(t, s.handled("r"), 1)
	s.exec("grant connect on database " + s.Name + " to hand")
	s.exact("r")
	w.MustStop()
}
