package containers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/jackc/pgx/v5"
	"github.com/ory/dockertest/v3"
	"github.com/ory/dockertest/v3/docker"

	"github.com/rouse-es/rouse/internal/pgserver"
	"github.com/rouse-es/rouse/internal/randid"
	"github.com/rouse-es/rouse/internal/testdb"
)

const (
	// containerLife is how long a container lives at most, whatever becomes of
	// the test. It is longer than the tests of a package may take.
	containerLife = 20 * time.Minute
	// containerPort is where PostgreSQL listens inside.
	containerPort = "5432/tcp"
	// startTimeout bounds the start of a server, initdb included.
	startTimeout = 2 * time.Minute
	// stopTimeout bounds its end.
	stopTimeout = 30 * time.Second
	// pauseEvery is how soon an engine that could not pause is asked again.
	pauseEvery = 100 * time.Millisecond
)

// containerSettings are what private servers have too.
var containerSettings = map[string]string{
	"fsync": "off", "max_connections": "200", "max_prepared_transactions": "20",
}

// Server is a PostgreSQL in a container of its own, a testdb.Machine. Make it with
// Start. All methods may be called from several goroutines; those that start
// or end the server wait for each other.
type Server struct {
	pool     *dockertest.Pool
	box      *dockertest.Resource
	port     int
	password string
	expires  time.Time
	version  string
	major    int

	mu      sync.Mutex // protects following fields and the order of starts and ends
	removed bool       // by Stop
}

// Start starts a PostgreSQL in a container from an image, one of Images, and
// removes it at the end of the test. settings go on top of fsync=off; nil is
// fine. Without Docker, or without the image, it does what Images does.
//
// A test that is killed leaves a container that stops after 20 minutes and that
// a later test removes.
func Start(t testing.TB, image string, settings map[string]string) *Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	c := newContainer(ctx, t, image, settings, containerLife)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if err := c.Stop(ctx); err != nil {
			t.Errorf("containers: removing a container: %v", err)
		}
	})
	if err := c.firstRun(ctx); err != nil {
		t.Fatalf("containers: starting PostgreSQL in a container of %s: %v; its last lines:\n%s", image, err, c.lastLines(ctx))
	}
	t.Logf("PostgreSQL %s in a container of %s", c.version, image)
	return c
}

// newContainer starts a container that nobody removes, and does not wait for the
// server in it.
func newContainer(ctx context.Context, t testing.TB, image string, settings map[string]string, life time.Duration) *Server {
	t.Helper()
	pool := requireEngine(t)
	repository, tag := requireImage(t, pool, image)
	c := &Server{pool: pool, password: randid.Hex(16), expires: time.Now().Add(life)}
	if err := c.create(ctx, repository, tag, settings); err != nil {
		t.Fatalf("containers: starting a container of %s: %v", image, err)
	}
	return c
}

// create makes and starts the container on a free port. Between the choice and
// the start another process may take the port; then it takes another.
func (c *Server) create(ctx context.Context, repository, tag string, settings map[string]string) error {
	all := maps.Clone(containerSettings)
	maps.Copy(all, settings)
	arguments := []string{"postgres"}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		arguments = append(arguments, "-c", name+"="+all[name])
	}
	for attempt := 1; ; attempt++ {
		port, err := pgserver.FreePort()
		if err != nil {
			return err
		}
		name := containerName()
		c.port = port
		c.box, err = c.pool.RunWithOptions(&dockertest.RunOptions{
			Name: name, Repository: repository, Tag: tag, Cmd: arguments,
			Env:    []string{"POSTGRES_PASSWORD=" + c.password, "POSTGRES_INITDB_ARGS=--locale=C --encoding=UTF8 --no-sync"},
			Labels: map[string]string{labelExpires: strconv.FormatInt(c.expires.Unix(), 10)},
			// A port that the engine chooses would be another one after a restart.
			PortBindings: map[docker.Port][]docker.PortBinding{
				containerPort: {{HostIP: "127.0.0.1", HostPort: strconv.Itoa(port)}},
			},
		})
		if err == nil {
			return nil
		}
		err = errors.Join(err, removeContainer(ctx, c.pool, name)) // made, and not started
		if ctx.Err() != nil || attempt == 5 {
			return err
		}
	}
}

// firstRun waits for the server and asks which one it is.
func (c *Server) firstRun(ctx context.Context) error {
	if err := c.waitReady(ctx); err != nil {
		return err
	}
	return testdb.WithConn(ctx, c.URL("postgres"), func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `select split_part(current_setting('server_version'), ' ', 1),
			current_setting('server_version_num')::int / 10000`).Scan(&c.version, &c.major)
	})
}

// waitReady sees to the end of the container's life and returns when the server
// answers.
func (c *Server) waitReady(ctx context.Context) error {
	// The engine keeps this promise even if this process dies. It ends with the
	// process in the container, so every start needs a new one.
	if err := c.box.Expire(uint(max(time.Until(c.expires), 0) / time.Second)); err != nil {
		return err
	}
	return c.pool.Retry(func() error {
		err := c.answers(ctx)
		if err == nil {
			return nil
		}
		if state, stateErr := c.state(ctx); stateErr != nil || !state.Running {
			return backoff.Permanent(errors.Join(err, stateErr, ctx.Err()))
		}
		return err
	})
}

// answers tries to connect for a second. The pauses of Retry alone are too long
// for a test that looks at what happens after the server is back. The password
// is known to this server only, so no other one on the port can answer.
func (c *Server) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, c.URL("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// containerName is new each time; it names the process, for whoever finds one that
// a killed test left.
func containerName() string {
	return fmt.Sprintf("rouse_test_%d_%s", os.Getpid(), randid.Hex(6))
}

// lastLines are what the container has written last.
func (c *Server) lastLines(ctx context.Context) string {
	output := &lines{}
	err := c.pool.Client.Logs(docker.LogsOptions{
		Context: ctx, Container: c.box.Container.ID, OutputStream: output, ErrorStream: output, Stdout: true, Stderr: true, Tail: "12",
	})
	if err != nil {
		return err.Error()
	}
	return string(output.text)
}

// lines collects what two streams bring at once.
type lines struct {
	mu   sync.Mutex // protects text
	text []byte
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	return len(p), nil
}

// URL implements testdb.Machine. It holds a password.
func (c *Server) URL(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword("postgres", c.password), Host: "127.0.0.1:" + strconv.Itoa(c.port),
		Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Port implements testdb.Machine.
func (c *Server) Port() int { return c.port }

// Major implements testdb.Machine.
func (c *Server) Major() int { return c.major }

// Version is the full version of PostgreSQL, such as 18.4.
func (c *Server) Version() string { return c.version }

// CreateDatabase implements testdb.Machine.
func (c *Server) CreateDatabase(ctx context.Context, name string) error {
	return testdb.CreateDatabase(ctx, c.URL("postgres"), name)
}

// Crash implements testdb.Machine: every process of the container is killed (SIGKILL).
func (c *Server) Crash(ctx context.Context) error { return c.end(ctx, docker.SIGKILL) }

// Halt implements testdb.Machine, by SIGINT, which is PostgreSQL's fast stop. The
// engine's own stop would send a signal that PostgreSQL ignores, and then kill.
func (c *Server) Halt(ctx context.Context) error { return c.end(ctx, docker.SIGINT) }

// end sends a signal to the server and waits until it is gone.
func (c *Server) end(ctx context.Context, signal docker.Signal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	state, err := c.mustRun(ctx)
	if err == nil && state.Paused {
		err = c.pool.Client.UnpauseContainer(c.box.Container.ID)
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	err = c.pool.Client.KillContainer(docker.KillContainerOptions{ID: c.box.Container.ID, Signal: signal, Context: ctx})
	if err == nil {
		_, err = c.pool.Client.WaitContainerWithContext(c.box.Container.ID, ctx)
	}
	if err != nil {
		return fmt.Errorf("containers: ending the server of a container: %w", err)
	}
	return nil
}

// Restart implements testdb.Machine.
func (c *Server) Restart(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	state, err := c.state(ctx)
	switch {
	case err != nil:
		return err
	case state.Running:
		return pgserver.ErrRunning
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	err = c.pool.Client.StartContainerWithContext(c.box.Container.ID, nil, ctx)
	if err == nil {
		err = c.waitReady(ctx)
	}
	if err != nil {
		return fmt.Errorf("containers: starting the server of a container again: %w; its last lines:\n%s", err, c.lastLines(context.WithoutCancel(ctx)))
	}
	return nil
}

// Pause implements testdb.Machine. Clients can still connect, to the engine's proxy. An engine gives up on processes that start others all
// the time, so it is asked again.
func (c *Server) Pause() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), dockerTimeout)
	defer cancel()
	state, err := c.mustRun(ctx)
	if err != nil || state.Paused {
		return err
	}
	return backoff.Retry(func() error {
		err := c.pool.Client.PauseContainer(c.box.Container.ID)
		var answer *docker.Error
		if err != nil && (!errors.As(err, &answer) || answer.Status != http.StatusInternalServerError) {
			return backoff.Permanent(err)
		}
		return err
	}, backoff.WithContext(backoff.NewConstantBackOff(pauseEvery), ctx))
}

// Resume implements testdb.Machine.
func (c *Server) Resume() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.removed {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), dockerTimeout)
	defer cancel()
	state, err := c.state(ctx)
	if err != nil || !state.Paused {
		return err
	}
	return c.pool.Client.UnpauseContainer(c.box.Container.ID)
}

// Stop implements testdb.Machine: it removes the container at once.
func (c *Server) Stop(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.removed {
		return nil
	}
	c.removed = true
	return removeContainer(ctx, c.pool, c.box.Container.ID)
}

// state asks the engine. The caller holds mu.
func (c *Server) state(ctx context.Context) (docker.State, error) {
	if c.removed {
		return docker.State{}, pgserver.ErrStopped
	}
	container, err := c.pool.Client.InspectContainerWithContext(c.box.Container.ID, ctx)
	if err != nil {
		return docker.State{}, fmt.Errorf("containers: looking at a container: %w", err)
	}
	return container.State, nil
}

// mustRun returns the state of a server that runs. The caller holds mu.
func (c *Server) mustRun(ctx context.Context) (docker.State, error) {
	state, err := c.state(ctx)
	if err == nil && !state.Running {
		err = pgserver.ErrNotRunning
	}
	return state, err
}
