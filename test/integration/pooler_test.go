//go:build unix

package integration_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/pgserver"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/test/checkout"
)

// bouncerEnv set to "required" makes a missing PgBouncer an error.
const bouncerEnv = "ROUSE_TEST_PGBOUNCER"

// bouncerScript runs PgBouncer, and ends it when standard input does: with the test, however that ends.
const bouncerScript = `"$0" "$1" </dev/null & cat >/dev/null; kill $!; wait $!`

const bouncerConfig = `[databases]
* = host=127.0.0.1 port=%d
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = scram-sha-256
auth_file = %s
pool_mode = %s
default_pool_size = 10
`

// bouncer is PgBouncer in front of a server.
type bouncer struct {
	t      *testing.T
	server *pgserver.Server
	config string // the path of its configuration
	direct string // the address of the database, without it
	port   int

	cmd    *exec.Cmd
	stdin  io.Closer // it ends with this
	output *bytes.Buffer
}

// newBouncer runs PgBouncer in one of its modes, with further lines of its configuration, until the end of the test.
func newBouncer(t *testing.T, server *pgserver.Server, direct, mode string, lines ...string) *bouncer {
	t.Helper()
	if _, err := exec.LookPath("pgbouncer"); err != nil {
		if os.Getenv(bouncerEnv) == "required" {
			require.FailNow(t, "there is no pgbouncer, and "+bouncerEnv+" says that there must be")
		}
		t.Skip("there is no pgbouncer here, so nothing is said of poolers: install the package pgbouncer")
	}
	b := &bouncer{t: t, server: server, direct: direct, port: freePort(t), output: &bytes.Buffer{}}
	// PgBouncer does not run as root. The server has an account for that, and a folder that its account may read.
	users := filepath.Join(server.DataDir(), fmt.Sprintf("bouncer_%d_users.txt", b.port))
	behind, err := pgx.ParseConfig(direct)
	require.NoError(t, err)
	give(t, server, users, fmt.Sprintf("%q %q", behind.User, behind.Password))
	b.config = filepath.Join(server.DataDir(), fmt.Sprintf("bouncer_%d.ini", b.port))
	text := fmt.Sprintf(bouncerConfig, server.Port(), b.port, users, mode) + strings.Join(lines, "\n") + "\n"
	give(t, server, b.config, text)
	b.run()
	t.Cleanup(func() {
		b.stop()
		if t.Failed() {
			t.Logf("pgbouncer:\n%s", b.output)
		}
	})
	testdb.Eventually(t, patience, "pgbouncer to answer", func() (bool, error) {
		conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(b.port)))
		if err != nil {
			return false, err
		}
		return true, conn.Close()
	})
	return b
}

func (b *bouncer) run() {
	b.t.Helper()
	program, err := exec.LookPath("pgbouncer")
	require.NoError(b.t, err)
	b.cmd = exec.Command("sh", "-c", bouncerScript, program, b.config)
	b.cmd.SysProcAttr = accountOf(b.t, b.server)
	b.cmd.Dir = "/"
	b.cmd.Stdout, b.cmd.Stderr = b.output, b.output
	b.stdin, err = b.cmd.StdinPipe()
	require.NoError(b.t, err)
	require.NoError(b.t, b.cmd.Start())
}

func (b *bouncer) stop() {
	_ = b.stdin.Close()
	_ = b.cmd.Wait() // it is ended by a signal
}

// url is the address of the database behind it, with how pgx is to send statements; "": as it does by itself.
func (b *bouncer) url(execMode string) string {
	u, err := url.Parse(b.direct)
	require.NoError(b.t, err)
	u.Host = net.JoinHostPort("127.0.0.1", strconv.Itoa(b.port))
	if execMode != "" {
		query := u.Query()
		query.Set("default_query_exec_mode", execMode)
		u.RawQuery = query.Encode()
	}
	return u.String()
}

// give writes a file that the account of a server may read.
func give(t *testing.T, server *pgserver.Server, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	if cred := accountOf(t, server).Credential; cred != nil {
		require.NoError(t, os.Chown(path, int(cred.Uid), int(cred.Gid)))
	}
}

// accountOf makes a child run as the account that a server runs as.
func accountOf(t *testing.T, server *pgserver.Server) *syscall.SysProcAttr {
	t.Helper()
	if os.Geteuid() != 0 {
		return &syscall.SysProcAttr{}
	}
	info, err := os.Stat(server.DataDir())
	require.NoError(t, err)
	stat := info.Sys().(*syscall.Stat_t)
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stat.Uid, Gid: stat.Gid}}
}

// freePort is one that nobody listens at.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// Behind a pooler in transaction mode LISTEN succeeds and delivers nothing, and a session-level lock would stay with a
// connection that others get. The worker notices before it takes any, says so once, and polls.
func TestWorkerBehindATransactionPoolerPolls(t *testing.T) {
	t.Parallel()
	server := testdb.Server(t, nil)
	s := newStage(t, testdb.On(t, server))
	address := newBouncer(t, server, s.URL, "transaction").url("exec") // prepared statements would meet those of others
	log := &journal{}
	var dials atomic.Int64
	pool, _ := s.watchedPool(address, func(cfg *pgxpool.Config) {
		dial := cfg.ConnConfig.DialFunc
		cfg.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			dials.Add(1)
			return dial(ctx, network, address)
		}
	})
	w := s.start(pool, rouse.Config{
		Projections: []rouse.Projection{batchRecorder{recorder{name: "batched"}}, recorder{name: "single"}}, Log: zerolog.New(log),
	}).WaitStarted()
	began := time.Now()
	load := s.startLoad(s.pool(address), 2, 5*time.Millisecond)
	unlocked := func() { // appends hold S for a moment to ask who sleeps, and whoever sleeps holds it for seconds
		t.Helper()
		looks := 0
		for ; s.int(heldSQL) > 0; looks++ {
			require.Less(t, looks, 200, "no session-level lock may be taken through a pooler")
		}
	}
	testdb.Eventually(t, patience, "the worker to notice that it is deaf", func() (bool, error) {
		unlocked()
		return log.has("warn", "LISTEN delivers nothing through this URL"), nil
	})
	t.Logf("noticed after %v", time.Since(began).Round(time.Millisecond))
	require.True(t, log.has("warn", "set ROUSE_LISTEN_URL"), "the log must say what to do")

	noticed := dials.Load()
	testdb.Eventually(t, patience, "it to have listened in vain twice more", func() (bool, error) {
		unlocked()
		return dials.Load() >= noticed+3, nil // it is told of the third when the second is over
	})
	require.Equal(t, "deaf", w.Status().Mode)
	require.Equal(t, 1, log.count("LISTEN delivers nothing"), "it is said once")
	require.Zero(t, log.count("the listening connection is deaf"), "it never delivered anything")
	load.more(t, 50)
	load.stop()
	for _, projection := range []string{"batched", "single"} {
		s.exact(projection)
	}
	require.Zero(t, s.int("select count(*) from projection_workers where presence is not null"), "others must not look for a lock")
	unlocked()
	w.MustStop()
	s.eventually(patience, "the worker to have taken its leave", "select count(*) = 0 from projection_workers")
}

// With a direct address to listen through, everything else may go through the pooler.
func TestWorkerBehindATransactionPoolerIsPushedThroughListenURL(t *testing.T) {
	t.Parallel()
	server := testdb.Server(t, nil)
	s := newStage(t, testdb.On(t, server))
	address := newBouncer(t, server, s.URL, "transaction").url("exec") // prepared statements would meet those of others
	binary := checkout.Rouse(t)
	worker := exec.Command(binary, "worker")
	worker.Env = append(os.Environ(), "DATABASE_URL="+address, "ROUSE_LISTEN_URL="+s.URL)
	output := &bytes.Buffer{}
	worker.Stderr = output
	require.NoError(t, worker.Start())
	stop := sync.OnceValue(func() error {
		_ = worker.Process.Signal(syscall.SIGTERM)
		return worker.Wait()
	})
	t.Cleanup(func() {
		_ = stop()
		if t.Failed() {
			t.Logf("the worker:\n%s", output)
		}
	})
	s.eventually(patience, "the worker to sleep until it is pushed", "select exists (select from projection_workers where mode = 'quiet' and presence is not null)")
	require.EqualValues(t, 3, s.int(heldSQL), "the sleepers' lock, and its presence on two connections")
	s.append(s.pool(address), "a") // the push triggers are safe through a pooler
	s.caughtUp("scalable_projection", patience)
	s.eventually(patience, "the push to be seen", "select exists (select from projection_workers where last_wake_at is not null)")
	require.NoError(t, stop(), "%s", output)
	require.NotContains(t, output.String(), "LISTEN delivers nothing")
}

// bouncerVersion is the version of PgBouncer that is here, such as 118 for 1.18.
func bouncerVersion(t *testing.T) (version int) {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		return 0 // newBouncer says it
	}
	out, err := exec.Command(program, "--version").Output()
	require.NoError(t, err)
	var major, minor int
	_, err = fmt.Sscanf(string(out), "PgBouncer %d.%d", &major, &minor)
	require.NoError(t, err)
	return 100*major + minor
}

// preparedSince is the first PgBouncer that knows the prepared statements of its clients in transaction mode.
const preparedSince = 121

// What the table of poolers in docs/deployment.md says of PgBouncer's modes and settings: each handles every event once, is pushed or
// polls, and goes on after a restart of the pooler.
func TestPoolerInEachOfItsModes(t *testing.T) {
	t.Parallel()
	server := testdb.Server(t, nil)
	for name, tc := range map[string]struct {
		mode     string
		lines    []string
		execMode string
		schema   string
		listens  bool // at the server itself
		pushed   bool
		since    int // the version that knows the lines
	}{
		"session":                             {mode: "session", pushed: true},
		"transaction, exec":                   {mode: "transaction", execMode: "exec", listens: true, pushed: true},
		"transaction, simple protocol":        {mode: "transaction", execMode: "simple_protocol", listens: true, pushed: true},
		"transaction, polling":                {mode: "transaction", execMode: "exec"},
		"transaction, always reset":           {mode: "transaction", lines: []string{"server_reset_query_always = 1"}, execMode: "exec", listens: true, pushed: true},
		"transaction, prepared by the pooler": {mode: "transaction", lines: []string{"max_prepared_statements = 100"}, listens: true, pushed: true, since: preparedSince},
		"transaction, with a search_path":     {mode: "transaction", lines: []string{"ignore_startup_parameters = search_path"}, execMode: "exec", schema: "public", listens: true, pushed: true},
		"transaction, one connection":         {mode: "transaction", lines: []string{"default_pool_size = 1", "query_wait_timeout = 5"}, execMode: "exec", listens: true, pushed: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, testdb.On(t, server))
			if tc.since > 0 && tc.since > bouncerVersion(t) {
				t.Skip("this PgBouncer does not know what this is about")
			}
			b := newBouncer(t, server, s.URL, tc.mode, tc.lines...)
			cfg := rouse.Config{Projections: []rouse.Projection{batchRecorder{recorder{name: "batched"}}, recorder{name: "single"}}}
			if tc.listens {
				cfg.ListenConn = func(context.Context) (*pgx.ConnConfig, error) { return pgx.ParseConfig(s.URL) }
			}
			pool, _ := s.watchedPool(b.url(tc.execMode), func(cfg *pgxpool.Config) {
				if tc.schema != "" {
					cfg.ConnConfig.RuntimeParams["search_path"] = tc.schema
				}
			})
			w := s.start(pool, cfg).WaitStarted()
			mode := "deaf"
			if tc.pushed {
				mode = "quiet"
			}
			through := s.pool(b.url("exec"))
			for _, when := range []string{"at first", "after a restart of the pooler"} {
				testdb.Eventually(t, patience, "it to be "+mode+" "+when, func() (bool, error) { return w.Status().Mode == mode, nil })
				for range 20 {
					s.append(through, "a")
				}
				s.exact("batched")
				s.exact("single")
				if when == "at first" {
					b.stop()
					b.run()
					testdb.Eventually(t, patience, "the pooler to be back", func() (bool, error) {
						through.Reset()
						err := through.Ping(s.ctx)
						return err == nil, err
					})
				}
			}
			w.MustStop()
		})
	}
}

// A pooler without connections to give holds the worker up and ends nothing: not at once, and not when it is full for a while.
func TestPoolerThatIsFull(t *testing.T) {
	t.Parallel()
	server := testdb.Server(t, nil)
	s := newStage(t, testdb.On(t, server))
	b := newBouncer(t, server, s.URL, "transaction", "max_client_conn = 12", "default_pool_size = 2", "query_wait_timeout = 2")
	log := &journal{}
	pool := s.pool(b.url("exec"))
	w := s.start(pool, rouse.Config{
		Projections: []rouse.Projection{recorder{name: "r"}}, Log: zerolog.New(log),
		ListenConn: func(context.Context) (*pgx.ConnConfig, error) { return pgx.ParseConfig(s.URL) },
	}).WaitStarted()
	s.append(s.Pool, "a")
	s.exact("r")

	var held []pgx.Tx
	for range 2 { // all that lead to the server
		conn, err := pgx.Connect(s.ctx, b.url("exec"))
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(s.ctx)) })
		tx, err := conn.Begin(s.ctx)
		require.NoError(t, err)
		_, err = tx.Exec(s.ctx, "select 1")
		require.NoError(t, err)
		held = append(held, tx)
	}
	s.append(s.Pool, "a")
	w.WaitState("r", rouse.StateRetrying)
	require.True(t, log.has("warn", "the pooler has no connection for the worker"))
	for _, tx := range held {
		require.NoError(t, tx.Rollback(s.ctx))
	}
	s.exact("r")

	var clients []*pgx.Conn
	s.append(s.Pool, "a")
	testdb.Eventually(t, patience, "the worker to have no connection", func() (bool, error) {
		pool.Reset()
		for { // all that it lets in
			conn, err := pgx.Connect(s.ctx, b.url("exec"))
			if err != nil {
				break
			}
			clients = append(clients, conn)
		}
		return w.Status().States["r"] == rouse.StateRetrying, nil
	})
	require.False(t, w.Health(s.ctx).Ready())
	for _, conn := range clients {
		require.NoError(t, conn.Close(s.ctx))
	}
	s.exact("r")
	require.Zero(t, s.int("select count(*) from parked_events"))
	w.MustStop()
}

// What cannot work is refused with one sentence that says what to set.
func TestPoolerThatCannotBeWorkedThroughIsRefused(t *testing.T) {
	t.Parallel()
	server := testdb.Server(t, nil)
	for name, tc := range map[string]struct {
		mode     string
		lines    []string
		execMode string
		schema   string
		says     string
	}{
		"statement mode":      {mode: "statement", execMode: "exec", says: "its pool_mode has to be transaction or session"},
		"no room":             {mode: "transaction", lines: []string{"max_client_conn = 0"}, execMode: "exec", says: "max_client_conn"},
		"prepared statements": {mode: "transaction", lines: []string{"default_pool_size = 1"}, says: "default_query_exec_mode=exec"},
		"a schema":            {mode: "transaction", execMode: "exec", schema: "public", says: "ignore_startup_parameters"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, testdb.On(t, server))
			if tc.execMode == "" && bouncerVersion(t) >= preparedSince {
				tc.lines = append(tc.lines, "max_prepared_statements = 0")
			}
			b := newBouncer(t, server, s.URL, tc.mode, tc.lines...)
			worker := exec.Command(checkout.Rouse(t), "worker", "--schema", tc.schema)
			worker.Env = append(os.Environ(), "DATABASE_URL="+b.url(tc.execMode), "ROUSE_LISTEN_URL="+s.URL)
			out, err := worker.CombinedOutput()
			require.Error(t, err)
			require.Contains(t, string(out), tc.says)
		})
	}
}
