package cli

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/pgserver"
	"github.com/rouse-es/rouse/internal/testdb"
)

// authority signs certificates.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	file string // its own certificate, for sslrootcert
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, key: newKey(t), file: filepath.Join(t.TempDir(), "ca.crt")}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	require.NoError(t, err)
	a.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(a.file, encode("CERTIFICATE", der), 0o600))
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// certify makes a key and a certificate for localhost that is good until then, in the folder of a server. write makes a file
// that belongs to the server, as a key has to.
func (a *authority) certify(server *pgserver.Server, until time.Time, write func(path string, text []byte)) {
	a.t.Helper()
	cert, key := a.issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, NotAfter: until, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	write(filepath.Join(server.DataDir(), "server.crt"), cert)
	write(filepath.Join(server.DataDir(), "server.key"), key)
}

// issue signs a certificate and makes the key for it.
func (a *authority) issue(template *x509.Certificate) (cert, private []byte) {
	a.t.Helper()
	key := newKey(a.t)
	template.SerialNumber, template.NotBefore = big.NewInt(2), time.Now().Add(-2*time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	require.NoError(a.t, err)
	marshaled, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(a.t, err)
	return encode("CERTIFICATE", der), encode("PRIVATE KEY", marshaled)
}

// secure is a server that is reached by its certificate.
type secure struct {
	t      *testing.T
	server *pgserver.Server
	db     *testdb.DB
	ca     *authority
}

// env is the environment of a command that logs in with a password out of a file.
func (s *secure) env(host, mode, root string) []string {
	passwords := filepath.Join(s.t.TempDir(), "pgpass")
	require.NoError(s.t, os.WriteFile(passwords, []byte(host+":*:*:app:s3cret\n"), 0o600))
	return []string{"PGPASSFILE=" + passwords, "DATABASE_URL=" + s.address("app", host, mode, root)}
}

func (s *secure) address(role, host, mode, root string) string {
	return with(s.t, s.db.URL, func(u *url.URL) {
		u.User, u.Host = url.User(role), host+":"+strconv.Itoa(s.server.Port())
		query := url.Values{"sslmode": {mode}, "sslrootcert": {root}}
		if role == "postgres" {
			query["passfile"] = u.Query()["passfile"]
		}
		u.RawQuery = query.Encode()
	})
}

// eventually waits until connecting ends in a certain way.
func (s *secure) eventually(what string, is func(err error) bool) {
	s.t.Helper()
	testdb.Eventually(s.t, processTimeout, what, func() (bool, error) {
		conn, err := pgx.Connect(s.t.Context(), s.address("postgres", "localhost", "verify-full", s.ca.file))
		if err != nil {
			return is(err), nil
		}
		return is(nil), conn.Close(s.t.Context())
	})
}

// TestTLS: with sslmode=verify-full and a password out of a file, a worker works over encrypted connections and is woken over
// one; and each way in which the server cannot be trusted ends with one sentence.
func TestTLS(t *testing.T) {
	t.Parallel()
	server := testdb.Server(t, nil)
	s := &secure{t: t, server: server, db: testdb.On(t, server), ca: newAuthority(t, "ours")}
	mustExec(t, s.db.Pool, "create role app login superuser password 's3cret'")
	good := s.env("localhost", "verify-full", s.ca.file)
	requireFault(t, runRouse(t, good, "status"), 3, "does not encrypt connections", "ssl = on")
	requireFault(t, runRouse(t, s.env("localhost", "verify-full", "/nowhere/ca.crt"), "status"), 3,
		"names a file that cannot be read", "/nowhere/ca.crt", "sslrootcert")

	s.encrypt("hostssl all all all scram-sha-256\n")

	for _, verb := range verbs {
		requireFault(t, runRouse(t, s.env("127.0.0.1", "verify-full", s.ca.file), verb...), 3,
			"certificate", "is for another host", "127.0.0.1", "connect by a name that is in it")
	}
	require.Zero(t, runRouse(t, s.env("127.0.0.1", "verify-ca", s.ca.file), "status").code, "the name does not matter to verify-ca")
	requireFault(t, runRouse(t, s.env("localhost", "verify-full", newAuthority(t, "other").file), "status"), 3,
		"an authority that is not trusted", "sslrootcert")
	s.works(good)

	s.ca.certify(server, time.Now().Add(-time.Hour), func(path string, text []byte) {
		require.NoError(t, os.WriteFile(path, text, 0o600)) // still the server's
	})
	_, err := s.connect().Exec(t.Context(), "select pg_reload_conf()")
	require.NoError(t, err)
	s.eventually("the server to show the certificate that is not good any more", func(err error) bool {
		return errors.As(err, &x509.CertificateInvalidError{})
	})
	requireFault(t, runRouse(t, good, "status"), 3, "cannot be used", "expired", "have a new one made")
}

// encrypt makes the server encrypt, with a certificate of the authority, and lets in whom the rules do.
func (s *secure) encrypt(rules string) {
	s.t.Helper()
	s.ca.certify(s.server, time.Now().Add(time.Hour), s.give)
	require.NoError(s.t, os.WriteFile(filepath.Join(s.server.DataDir(), "pg_hba.conf"), []byte(rules), 0o600))
	mustExec(s.t, s.db.Pool, "alter system set ssl = on")
	mustExec(s.t, s.db.Pool, "select pg_reload_conf()")
	s.eventually("the server to encrypt", func(err error) bool { return err == nil })
}

// give makes a file that belongs to the server.
func (s *secure) give(path string, text []byte) {
	s.t.Helper()
	object := value[uint32](s.t, s.db.Pool, "select lo_from_bytea(0, $1)", text)
	mustExec(s.t, s.db.Pool, "select lo_export($1, $2)", object, path)
	require.NoError(s.t, os.Chmod(path, 0o600)) // the server's own umask lets everybody read it
}

// connect returns an encrypted connection of the server's owner.
func (s *secure) connect() *pgx.Conn {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), s.address("postgres", "localhost", "verify-full", s.ca.file))
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// works runs a worker until it sleeps behind a push that has been proved, and wakes it.
func (s *secure) works(env []string) {
	s.t.Helper()
	worker := startRouse(s.t, env, "worker", "--worker-id", "tls")
	conn := s.connect()
	is := func(what, sql string) {
		s.t.Helper()
		testdb.Eventually(s.t, processTimeout, what, func() (ok bool, err error) {
			return ok, conn.QueryRow(s.t.Context(), sql).Scan(&ok)
		})
	}
	is("the worker to sleep", "select exists (select from projection_workers where label = 'tls' and mode = 'quiet')")
	require.Zero(s.t, runRouse(s.t, env, "append", "--count", "5").code)
	is("the append to wake it", "select exists (select from projection_workers where label = 'tls' and last_wake_at is not null)")
	is("the events to be handled", "select coalesce(sum(events), 0) = 5 from scaling_activity")
	// One listens, one controls, and the pool has one at least: more only if two were wanted at once.
	is("all sessions of the worker to be encrypted", `select count(*) >= 3 and bool_and(s.ssl)
		from pg_stat_activity a join pg_stat_ssl s using (pid) where a.application_name like 'rouse%tls'`)
	worker.Signal(s.t, syscall.SIGTERM)
	require.Zero(s.t, worker.Wait(s.t))
}
