package testdb

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/rouse-es/rouse/internal/pgserver"
	"github.com/rouse-es/rouse/internal/scratch"
)

// EnvURL names the environment variable with the URL of a maintenance database
// of a server to use, such as postgres://postgres@127.0.0.1/postgres.
const EnvURL = "TEST_DATABASE_URL"

const (
	// startTimeout bounds the start of a private server, initdb included.
	startTimeout = 2 * time.Minute
	// stopTimeout bounds its end.
	stopTimeout = 30 * time.Second
	// statementTimeout bounds every statement of this package, the copying of
	// a template on a busy machine included.
	statementTimeout = time.Minute
)

// shared is what all tests of this binary use together.
var shared struct {
	mu          sync.Mutex // protects following fields, held while they are made
	maintenance string     // URL of the maintenance database, "" before the first use
	template    string     // name of the template with the schema, "" before the first use
	err         error      // the first failure, which every later test reports too
}

// fast are settings of private servers: the operating system outlives the tests,
// so nothing needs to reach the disk. Commits wait for the log as ever, and a
// crash of the server loses what it would lose.
var fast = map[string]string{"fsync": "off"}

// Main is the body of TestMain. It runs the tests, stops the private server, and
// fails if a goroutine is left, besides those of libraries that ignore names. It
// does not return.
func Main(m *testing.M, ignore ...goleak.Option) {
	code := m.Run()
	if err := stopShared(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	if code == 0 {
		if err := goleak.Find(ignore...); err != nil {
			fmt.Fprintf(os.Stderr, "testdb: goroutines are left after the tests: %v\n", err)
			code = 1
		}
	}
	os.Exit(code)
}

// stopShared ends what tests have had together, a private server included.
func stopShared() error {
	shared.mu.Lock()
	defer shared.mu.Unlock()
	shared.maintenance, shared.template = "", ""
	return scratch.Stop()
}

// maintenanceURL returns the address of the server for all tests, started if it
// is a private one. The caller holds shared.mu.
func maintenanceURL() (string, error) {
	if shared.maintenance != "" || shared.err != nil {
		return shared.maintenance, shared.err
	}
	given := os.Getenv(EnvURL)
	if given == "" {
		shared.maintenance, shared.err = scratch.Server() // that of package rousetest, which is tested beside this one
		if shared.err != nil {
			shared.err = fmt.Errorf("testdb: no database for the tests (set %s, or make PostgreSQL available): %w", EnvURL, shared.err)
		}
		return shared.maintenance, shared.err
	}
	if _, err := databaseURL(given, "postgres"); err != nil {
		shared.err = err
		return "", err
	}
	shared.maintenance = given
	return given, nil
}

// databaseURL returns the URL of another database of the same server.
func databaseURL(server, name string) (string, error) {
	u, err := url.Parse(server)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		// The text of the error would repeat the URL, and with it a password.
		return "", fmt.Errorf("testdb: %s is not a URL; write it as postgres://user@host:port/database", EnvURL)
	}
	u.Path, u.RawPath = "/"+name, ""
	return u.String(), nil
}

// WithConn runs f on a connection of its own, within a minute.
func WithConn(ctx context.Context, address string, f func(ctx context.Context, conn *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return err
	}
	err = f(ctx, conn)
	return errors.Join(err, closeConn(conn))
}

// closeConn ends a connection politely, for which it takes a second at most.
func closeConn(conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return conn.Close(ctx)
}

// startPrivate starts a server of the tests' own. A PGPASSWORD in the environment is about another one, and would come before the
// password of this one, also in the programs that tests start.
func startPrivate(ctx context.Context, settings map[string]string) (*pgserver.Server, error) {
	if err := os.Unsetenv("PGPASSWORD"); err != nil {
		return nil, err
	}
	return pgserver.Start(ctx, pgserver.Config{Settings: settings})
}

// Password is what tests give to the roles that they make to log in with. A server that was given (EnvURL) may let them in without.
const Password = "of-a-test"

// As returns an address for another role, with Password.
func As(t testing.TB, address, role string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal("testdb: the address is not a URL")
	}
	u.User = url.UserPassword(role, Password)
	return u.String()
}

// Server starts a private server for tests that crash, pause or fail over, and
// stops it at the end of the test. settings go on top of fsync=off; nil is fine.
func Server(t testing.TB, settings map[string]string) *pgserver.Server {
	t.Helper()
	all := map[string]string{}
	for _, some := range []map[string]string{fast, settings} {
		for name, value := range some {
			all[name] = value
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	server, err := startPrivate(ctx, all)
	if err != nil {
		t.Fatal(err)
	}
	StopAtCleanup(t, server)
	return server
}

// StopAtCleanup stops a server, such as a standby, at the end of the test.
func StopAtCleanup(t testing.TB, server *pgserver.Server) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			t.Errorf("testdb: stopping a private server: %v", err)
		}
	})
}
