package cli

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/database"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
)

// TestARotatedPasswordIsReadAgain: a pool whose sessions were ended logs in with what the file of passwords says by now.
func TestARotatedPasswordIsReadAgain(t *testing.T) {
	t.Parallel()
	server := testdb.Server(t, nil)
	db := testdb.On(t, server)
	mustExec(t, db.Pool, "create role app login password 'one'")
	passwords := filepath.Join(t.TempDir(), "pgpass")
	rotate := func(password string) {
		require.NoError(t, os.WriteFile(passwords, []byte("*:*:*:app:"+password+"\n"), 0o600))
	}
	rotate("one")
	d := database.Database{URL: with(t, db.URL, func(u *url.URL) {
		u.User = url.User("app")
		q := u.Query()
		q.Set("passfile", passwords)
		u.RawQuery = q.Encode()
	})}
	pool, err := d.Pool(t.Context(), "rotated", 1)
	require.NoError(t, err)
	defer pool.Close()

	mustExec(t, db.Pool, "alter role app password 'two'")
	require.NoError(t, pool.Ping(t.Context()), "a session that stands is good")
	pool.Reset()
	require.Error(t, pool.Ping(t.Context()), "the server asks for the password")
	rotate("two")
	require.NoError(t, pool.Ping(t.Context()))

	require.NoError(t, os.Remove(passwords))
	pool.Reset()
	require.Error(t, pool.Ping(t.Context()), "the password of the start is not that of now")
	rotate("two")
	require.NoError(t, pool.Ping(t.Context()))
}

// TestRotatedCertificatesAreReadAgain, those of all hosts, and what cannot be read leaves what was read before.
func TestRotatedCertificatesAreReadAgain(t *testing.T) {
	t.Parallel()
	first, second := newAuthority(t, "first"), newAuthority(t, "second")
	file := filepath.Join(t.TempDir(), "root.crt")
	put := func(a *authority) {
		text, err := os.ReadFile(a.file)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file, text, 0o600))
	}
	put(first)
	d := database.Database{URL: "postgres://app@a.example.com,b.example.com:6432/x?sslmode=verify-full&sslrootcert=" + file}
	pool, err := d.PoolConfig("rotated")
	require.NoError(t, err)
	put(second)
	cfg := pool.ConnConfig.Copy()
	old := cfg.TLSConfig.RootCAs
	require.NoError(t, pool.BeforeConnect(t.Context(), cfg))
	require.Len(t, cfg.Fallbacks, 1)
	renewed := cfg.TLSConfig.RootCAs
	require.False(t, renewed.Equal(old))
	require.True(t, cfg.Fallbacks[0].TLSConfig.RootCAs.Equal(renewed))
	require.Equal(t, []string{"a.example.com", "b.example.com"}, []string{cfg.TLSConfig.ServerName, cfg.Fallbacks[0].TLSConfig.ServerName})

	require.NoError(t, os.Remove(file))
	require.NoError(t, pool.BeforeConnect(t.Context(), cfg))
	require.True(t, cfg.TLSConfig.RootCAs.Equal(renewed))
}

// endAll ends the sessions of roles, as who rotates their secrets does, or a failover.
const endAll = "select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = any ($1)"

// TestWorkerLivesThroughRotatedPasswords: the server asks for new passwords and ends the sessions; the file of passwords is
// rewritten only when the worker has been refused. It has a role to listen with, which has a password of its own.
func TestWorkerLivesThroughRotatedPasswords(t *testing.T) {
	t.Parallel()
	server := testdb.Server(t, nil)
	db := testdb.On(t, server)
	passwords := filepath.Join(t.TempDir(), "pgpass")
	roles := []string{"app", "ear"}
	address := func(role string) string {
		return with(t, db.URL, func(u *url.URL) {
			u.User = url.User(role)
			q := u.Query()
			q.Set("passfile", passwords)
			u.RawQuery = q.Encode()
		})
	}
	change := func(generation string) (file string) {
		for _, role := range roles {
			mustExec(t, db.Pool, "alter role "+role+" password '"+role+generation+"'")
			file += "*:*:*:" + role + ":" + role + generation + "\n"
		}
		return file
	}
	for _, role := range roles {
		mustExec(t, db.Pool, "create role "+role+" login superuser")
	}
	require.NoError(t, os.WriteFile(passwords, []byte(change("one")), 0o600))
	worker := startRouse(t, []string{"DATABASE_URL=" + address("app"), "ROUSE_LISTEN_URL=" + address("ear")}, "worker", "--worker-id", "w")
	w := pushed{t, db}
	w.handles(worker)

	file := change("two")
	require.Positive(t, value[int](t, db.Pool, endAll, roles))
	testdb.Eventually(t, processTimeout, "the worker to be refused with both roles", func() (bool, error) {
		log := worker.Stderr.String()
		return strings.Contains(log, `failed for user \"app\"`) && strings.Contains(log, `failed for user \"ear\"`), nil
	})
	require.NoError(t, os.WriteFile(passwords, []byte(file), 0o600))
	w.handles(worker)
	worker.Signal(t, syscall.SIGTERM)
	require.Zero(t, worker.Wait(t), worker.Stderr.String())
}

// pushed watches a worker that is called w.
type pushed struct {
	t  *testing.T
	db *testdb.DB
}

// handles appends until the push of an event wakes the worker, and waits until all events are handled.
func (w pushed) handles(worker *workertest.Program) {
	w.t.Helper()
	is := func(what, sql string, args ...any) {
		w.t.Helper()
		testdb.Eventually(w.t, processTimeout/2, what, func() (ok bool, err error) {
			select {
			case <-worker.Exited:
				require.Fail(w.t, "the worker has ended", worker.Stderr.String())
			default:
			}
			return ok, w.db.Pool.QueryRow(w.t.Context(), sql, args...).Scan(&ok)
		})
	}
	is("the worker to be there", "select exists (select from projection_workers where label = 'w')")
	woken := value[*time.Time](w.t, w.db.Pool, "select last_wake_at from projection_workers where label = 'w'")
	is("an append to wake it", `with appended as (
			insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
			select 'a', 'a', count(*) + 1, 'happened', '{}' from events)
		select exists (select from projection_workers where label = 'w' and mode = 'quiet' and last_wake_at > coalesce($1::timestamptz, '-infinity'))`, woken)
	is("all events to be handled", "select coalesce(sum(events), 0) = (select count(*) from events) from scaling_activity")
}

// TestWorkerLivesThroughRotatedCertificates: another authority signs the certificates of the server and of the client, the files
// are rewritten, what the old one has signed is refused, and the sessions are ended.
func TestWorkerLivesThroughRotatedCertificates(t *testing.T) {
	t.Parallel()
	server := testdb.Server(t, nil)
	s := &secure{t: t, server: server, db: testdb.On(t, server), ca: newAuthority(t, "first")}
	mustExec(t, s.db.Pool, "create role app login superuser")
	clientCA := filepath.Join(server.DataDir(), "clients.crt")
	read := func(a *authority) []byte {
		text, err := os.ReadFile(a.file)
		require.NoError(t, err)
		return text
	}
	s.give(clientCA, read(s.ca))
	mustExec(t, s.db.Pool, "alter system set ssl_ca_file = 'clients.crt'")
	s.encrypt("hostssl all app all cert\nhostssl all postgres all scram-sha-256\n")

	files := func(a *authority, folder string) (address string) {
		cert, key := a.issue(&x509.Certificate{Subject: pkix.Name{CommonName: "app"}, NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		for name, text := range map[string][]byte{"root.crt": read(a), "client.crt": cert, "client.key": key} {
			require.NoError(t, os.WriteFile(filepath.Join(folder, name), text, 0o600))
		}
		return with(t, s.address("app", "localhost", "verify-full", filepath.Join(folder, "root.crt")), func(u *url.URL) {
			q := u.Query()
			q.Set("sslcert", filepath.Join(folder, "client.crt"))
			q.Set("sslkey", filepath.Join(folder, "client.key"))
			u.RawQuery = q.Encode()
		})
	}
	folder, old := t.TempDir(), t.TempDir()
	address, stale := files(s.ca, folder), files(s.ca, old)
	worker := startRouse(t, []string{"DATABASE_URL=" + address, "ROUSE_LISTEN_URL=" + address}, "worker", "--worker-id", "w")
	w := pushed{t, &testdb.DB{Pool: s.pool()}}
	w.handles(worker)

	s.ca = newAuthority(t, "second")
	own := func(path string, text []byte) { require.NoError(t, os.WriteFile(path, text, 0o600)) } // they are the server's already
	s.ca.certify(server, time.Now().Add(time.Hour), own)
	own(clientCA, read(s.ca))
	_, err := w.db.Pool.Exec(t.Context(), "select pg_reload_conf()")
	require.NoError(t, err)
	s.eventually("the server to show the other certificate", func(err error) bool { return err == nil })
	w.db.Pool = s.pool()
	_, err = pgx.Connect(t.Context(), stale)
	require.Error(t, err, "the old certificates are good for nothing")
	files(s.ca, folder)
	require.Positive(t, value[int](t, w.db.Pool, endAll, []string{"app"}))
	w.handles(worker)
	require.True(t, value[bool](t, w.db.Pool, "select bool_and(ssl) from pg_stat_activity join pg_stat_ssl using (pid) where usename = 'app'"))
	worker.Signal(t, syscall.SIGTERM)
	require.Zero(t, worker.Wait(t), worker.Stderr.String())
}

// pool is one of the server's owner, whose connections are encrypted.
func (s *secure) pool() *pgxpool.Pool {
	s.t.Helper()
	pool, err := pgxpool.New(s.t.Context(), s.address("postgres", "localhost", "verify-full", s.ca.file))
	require.NoError(s.t, err)
	s.t.Cleanup(pool.Close)
	return pool
}
