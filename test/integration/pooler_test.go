//go:build unix

package integration_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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
auth_type = trust
auth_file = %s
pool_mode = transaction
default_pool_size = 10
`

// bouncer runs PgBouncer in transaction mode in front of a server, and returns the URL of a database behind it.
func bouncer(t *testing.T, server *pgserver.Server, direct string) string {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		if os.Getenv(bouncerEnv) == "required" {
			require.FailNow(t, "there is no pgbouncer, and "+bouncerEnv+" says that there must be")
		}
		t.Skip("there is no pgbouncer here, so nothing is said of poolers: install the package pgbouncer")
	}
	// PgBouncer does not run as root. The server has an account for that, and a folder that its account may read.
	users := filepath.Join(server.DataDir(), "bouncer_users.txt")
	give(t, server, users, `"postgres" ""`)
	port := freePort(t)
	config := filepath.Join(server.DataDir(), "bouncer.ini")
	give(t, server, config, fmt.Sprintf(bouncerConfig, server.Port(), port, users))

	cmd := exec.Command("sh", "-c", bouncerScript, program, config)
	cmd.SysProcAttr = accountOf(t, server)
	cmd.Dir = "/"
	output := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = output, output
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait() // it is ended by a signal
		if t.Failed() {
			t.Logf("pgbouncer:\n%s", output)
		}
	})

	u, err := url.Parse(direct)
	require.NoError(t, err)
	u.Host = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	query := u.Query()
	query.Set("default_query_exec_mode", "exec") // prepared statements would meet those of others
	u.RawQuery = query.Encode()
	testdb.Eventually(t, patience, "pgbouncer to answer", func() (bool, error) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		conn, err := pgx.Connect(ctx, u.String())
		if err != nil {
			return false, err
		}
		return true, conn.Close(ctx)
	})
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
	address := bouncer(t, server, s.URL)
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
	}).started()
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
	require.Less(t, time.Since(began), 10*time.Second)
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
	w.stop()
	s.eventually(patience, "the worker to have taken its leave", "select count(*) = 0 from projection_workers")
}

// With a direct address to listen through, everything else may go through the pooler.
func TestWorkerBehindATransactionPoolerIsPushedThroughListenURL(t *testing.T) {
	t.Parallel()
	server := testdb.Server(t, nil)
	s := newStage(t, testdb.On(t, server))
	address := bouncer(t, server, s.URL)
	binary := buildRouse(t)
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
