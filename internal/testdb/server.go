package testdb

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/rouse-es/rouse/internal/pgserver"
	"github.com/rouse-es/rouse/internal/scratch"
)

// EnvURL names the environment variable with the URL of a maintenance database
// of a server to use, such as postgres://postgres@127.0.0.1/postgres.
const EnvURL = scratch.EnvURL

const (
	// stopTimeout bounds the end of a private server.
	stopTimeout = 30 * time.Second
	// statementTimeout bounds every statement of this package.
	statementTimeout = time.Minute
)

// Main is the body of TestMain. It runs the tests, stops the private server, and
// fails if a goroutine is left, besides those of libraries that ignore names. It
// does not return.
func Main(m *testing.M, ignore ...goleak.Option) {
	code := m.Run()
	if err := scratch.Stop(); err != nil {
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

// CreateDatabase makes a database without a schema on a server, given by the URL of a maintenance database, as the databases of
// tests are made.
func CreateDatabase(ctx context.Context, server, name string) error {
	return WithConn(ctx, server, func(ctx context.Context, conn *pgx.Conn) error { return scratch.Create(ctx, conn, name) })
}

// Server starts a private server for tests that crash, pause or fail over, and
// stops it at the end of the test. settings go on top of fsync=off; nil is fine.
func Server(t testing.TB, settings map[string]string) *pgserver.Server {
	t.Helper()
	server, err := scratch.Start(settings)
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
