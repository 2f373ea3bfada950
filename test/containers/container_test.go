package containers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/ory/dockertest/v3"
	"github.com/ory/dockertest/v3/docker"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/pgserver"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/migrations"
)

var _ testdb.Machine = (*Server)(nil)

func TestMain(m *testing.M) { testdb.Main(m) }

// TestMachine holds a server in a container and a private one to the same
// promises.
func TestMachine(t *testing.T) {
	t.Parallel()
	t.Run("private", func(t *testing.T) {
		t.Parallel()
		machinePromises(t, func(t *testing.T) testdb.Machine { return testdb.Server(t, nil) })
	})
	t.Run("container", func(t *testing.T) {
		t.Parallel()
		pool, image := dockerOf(t)
		var c *Server
		machinePromises(t, func(t *testing.T) testdb.Machine {
			c = Start(t, image, map[string]string{"work_mem": "6MB"})
			require.Equal(t, "6MB", ask[string](t, c, "show work_mem"))
			require.Equal(t, "off", ask[string](t, c, "show fsync"))
			require.True(t, strings.HasPrefix(c.Version(), strconv.Itoa(c.Major())), c.Version())
			return c
		})
		_, err := pool.Client.InspectContainer(c.box.Container.ID)
		var gone *docker.NoSuchContainer
		require.ErrorAs(t, err, &gone, "it is gone after its test")
	})
}

// ask runs a query for one value on a connection of its own.
func ask[T any](t *testing.T, m testdb.Machine, sql string) (v T) {
	t.Helper()
	require.NoError(t, testdb.WithConn(t.Context(), m.URL("postgres"), func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, sql).Scan(&v)
	}))
	return v
}

func machinePromises(t *testing.T, start func(t *testing.T) testdb.Machine) {
	t.Helper()
	var m testdb.Machine
	t.Run("FaultsAreSurvivedAtTheSameAddress", func(t *testing.T) {
		m = start(t)
		machineFaults(t, m)
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, m.Stop(ctx), "the end of its test has done it already")
	require.ErrorIs(t, m.Restart(ctx), pgserver.ErrStopped)
	require.ErrorIs(t, m.Pause(), pgserver.ErrStopped)
	require.NoError(t, m.Resume())
}

func machineFaults(t *testing.T, m testdb.Machine) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	db := testdb.On(t, m)
	require.NoError(t, migrations.Check(ctx, db.Pool))
	require.Equal(t, m.Major(), ask[int](t, m, "select current_setting('server_version_num')::int / 10000"))
	require.NoError(t, testdb.WithConn(ctx, m.URL("postgres"), func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "create table t (n int)")
		return err
	}))
	rows := 0
	keeps := func(what string) {
		t.Helper()
		require.Equal(t, rows, ask[int](t, m, "select count(*)::int from t"), "%s: what was committed is there, at the same address", what)
		ask[int](t, m, "with i as (insert into t values (1) returning n) select n from i")
		rows++
	}
	keeps("a new server")
	require.ErrorIs(t, m.Restart(ctx), pgserver.ErrRunning)

	for _, end := range []struct {
		name string
		do   func(context.Context) error
	}{{"crash", m.Crash}, {"halt", m.Halt}} {
		client := db.Conn(t)
		require.NoError(t, end.do(ctx))
		require.Error(t, client.Ping(ctx), "%s: clients are cut off", end.name)
		require.ErrorIs(t, end.do(ctx), pgserver.ErrNotRunning)
		require.ErrorIs(t, m.Pause(), pgserver.ErrNotRunning)
		require.NoError(t, m.Restart(ctx))
		keeps(end.name)
	}

	client := db.Conn(t)
	require.NoError(t, m.Pause())
	require.NoError(t, m.Pause())
	silent, stop := context.WithTimeout(ctx, 300*time.Millisecond)
	_, err := pgx.Connect(silent, m.URL("postgres"))
	stop()
	require.ErrorIs(t, err, context.DeadlineExceeded, "a paused server answers nothing")
	require.NoError(t, m.Resume())
	require.NoError(t, m.Resume())
	require.NoError(t, client.Ping(ctx), "a pause closes nothing")
	keeps("pause")
	require.NoError(t, m.Pause())
	require.NoError(t, m.Crash(ctx), "a paused server can be ended")
	require.NoError(t, m.Restart(ctx))
	keeps("crash while paused")
}

// dockerOf is the engine, for tests that look at it.
func dockerOf(t *testing.T) (*dockertest.Pool, string) {
	t.Helper()
	images := Images(t)
	pool, err := engine()
	require.NoError(t, err)
	return pool, images[len(images)-1]
}

const (
	// orphanEnv makes TestOrphan do its part.
	orphanEnv = "ROUSE_TEST_CONTAINERS_ORPHAN"
	// orphanID is what it prints before the id of its container.
	orphanID = "container of the orphan: "
)

// TestOrphan is a part of the test below, run in a process that dies in it.
func TestOrphan(t *testing.T) {
	if os.Getenv(orphanEnv) == "" {
		t.Skip("only a part of TestContainersOfKilledTestsAreRemoved")
	}
	_, image := dockerOf(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := newContainer(ctx, t, image, nil, 20*time.Second)
	fmt.Println(orphanID + c.box.Container.ID)
	_ = c.waitReady(ctx) // on a slow machine it may expire before
	os.Exit(9)           // no end of the test is run, as after a kill
}

func TestContainersOfKilledTestsAreRemoved(t *testing.T) {
	t.Parallel()
	pool, _ := dockerOf(t)
	out, status := testdb.RunBinary(t, "TestOrphan", orphanEnv+"=1")
	require.Equal(t, 9, status, out)
	_, rest, found := strings.Cut(out, orphanID)
	require.True(t, found, out)
	id, _, _ := strings.Cut(rest, "\n")
	container, err := pool.Client.InspectContainer(id)
	require.NoError(t, err, "it must be left behind, or nothing is shown")
	testdb.Eventually(t, time.Minute, "the engine to stop it", func() (bool, error) {
		container, err = pool.Client.InspectContainer(id)
		return err == nil && !container.State.Running, err
	})
	testdb.Eventually(t, time.Minute, "its time to be over", func() (bool, error) {
		require.NoError(t, removeExpired(t.Context(), pool), "as the next test does")
		_, err := pool.Client.InspectContainer(id)
		var gone *docker.NoSuchContainer
		return errors.As(err, &gone), nil
	})
}

func TestContainerThatEndsAtItsStartFailsAtOnceWithItsLastLines(t *testing.T) {
	t.Parallel()
	_, image := dockerOf(t)
	r := testdb.Record(t, func(t testing.TB) { Start(t, image, map[string]string{"no_such_setting": "1"}) })
	require.True(t, r.Ended)
	require.Contains(t, strings.Join(r.Failures, "\n"), `unrecognized configuration parameter "no_such_setting"`)
}

func TestWithoutDocker(t *testing.T) {
	t.Parallel()
	nowhere := "DOCKER_HOST=unix://" + t.TempDir() + "/none.sock"
	t.Run("TestsOnContainersSayThatTheyAreLeftOut", func(t *testing.T) {
		out, status := testdb.RunBinary(t, "TestMachine/container", nowhere, EnvImage+"=")
		require.Zero(t, status, out)
		require.Contains(t, out, "left out, because it needs a container and no Docker answers")
		require.Contains(t, out, "--- SKIP: TestMachine/container")
	})
	t.Run("TheyFailIfAnImageIsNamed", func(t *testing.T) {
		out, status := testdb.RunBinary(t, "TestMachine/container", nowhere, EnvImage+"=postgres:18")
		require.Equal(t, 1, status, out)
		require.Contains(t, out, "ROUSE_TEST_IMAGE names images, but no Docker answers")
	})
}

func TestImageNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][2]string{
		"postgres:18-alpine":      {"postgres", "18-alpine"},
		"postgres":                {"postgres", "latest"},
		"host:5000/team/postgres": {"host:5000/team/postgres", "latest"},
		"host:5000/postgres:15":   {"host:5000/postgres", "15"},
	} {
		repository, tag := splitImage(name)
		require.Equal(t, want, [2]string{repository, tag}, name)
	}
}

// TestPauseIsAskedForAgain: an engine fails to freeze processes that start others just then. A container that is gone is no such case.
func TestPauseIsAskedForAgain(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answers []int
		asked   int32
		fails   bool
	}{
		"could not freeze": {[]int{http.StatusInternalServerError, http.StatusInternalServerError, http.StatusNoContent}, 3, false},
		"is gone":          {[]int{http.StatusNotFound, http.StatusNoContent}, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			engine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					_, _ = w.Write([]byte(`{"State": {"Running": true}}`))
					return
				}
				w.WriteHeader(tc.answers[asked.Add(1)-1])
			}))
			defer engine.Close()
			client, err := docker.NewClient(engine.URL)
			require.NoError(t, err)
			server := &Server{pool: &dockertest.Pool{Client: client}, box: &dockertest.Resource{Container: &docker.Container{ID: "x"}}}
			require.Equal(t, tc.fails, server.Pause() != nil)
			require.Equal(t, tc.asked, asked.Load())
			client.HTTPClient.CloseIdleConnections()
		})
	}
}
