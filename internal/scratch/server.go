package scratch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/internal/pgserver"
)

// The variables that may name a server, by the URL of a database on it.
const (
	EnvURL     = "TEST_DATABASE_URL"
	EnvLastURL = "DATABASE_URL" // where no server can be started
)

const (
	startTimeout     = 2 * time.Minute  // of a private server, initdb included
	stopTimeout      = 30 * time.Second // of its end
	statementTimeout = time.Minute      // of every statement, the copying of a template on a busy machine included
	connectTimeout   = 10 * time.Second // of a connection to a server that was named
)

// ErrNoServer means that there is no PostgreSQL for the tests. The sentence says what to do.
var ErrNoServer = errors.New("there is no PostgreSQL for the tests: set " + EnvURL + " to one on which the role may create databases, such as " +
	"postgres://postgres:postgres@localhost:5432/postgres, or install PostgreSQL 15 or later, which is then started by itself")

// fast are settings of a private server: the operating system outlives the tests, so nothing needs to reach the disk. Commits wait
// for the log as ever, and a crash of the server loses what it would lose.
var fast = map[string]string{"fsync": "off"}

// server is where the databases are made. It is private to this process, or was named by a variable.
type server struct {
	address string           // URL of a database to connect to, which is not changed
	own     *pgserver.Server // nil: the server was named
}

// findServer returns the server of EnvURL, or starts one, or returns that of EnvLastURL.
func findServer() (server, error) {
	if given := os.Getenv(EnvURL); given != "" {
		return named(EnvURL, given)
	}
	own, err := Start(nil)
	if err == nil {
		return server{address: own.URL("postgres"), own: own}, nil
	}
	if given := os.Getenv(EnvLastURL); given != "" {
		return named(EnvLastURL, given)
	}
	return server{}, fmt.Errorf("%w (%w)", ErrNoServer, err)
}

// Start starts a private server as it is for tests, whose settings go on top; nil is fine. A PGPASSWORD in the environment is about
// another server, and would come before the password of this one, also in the programs that tests start: it is removed.
func Start(settings map[string]string) (*pgserver.Server, error) {
	if err := os.Unsetenv("PGPASSWORD"); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	all := maps.Clone(fast)
	maps.Copy(all, settings)
	return pgserver.Start(ctx, pgserver.Config{Settings: all})
}

// named returns the server that a variable names.
func named(variable, given string) (server, error) {
	if u, err := url.Parse(given); err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		// The cause would repeat the address, and with it a password.
		return server{}, fmt.Errorf("%s is not an address of a server (write it as postgres://user:password@host:port/database)", variable)
	}
	conn, err := connect(given)
	if err != nil {
		return server{}, fmt.Errorf("the PostgreSQL of %s cannot be used (start it, or correct the address): %w", variable, err)
	}
	return server{address: given}, closeConn(conn)
}

// database returns the address of another database of the server.
func (s server) database(name string) (string, error) {
	u, err := url.Parse(s.address)
	if err != nil {
		return "", errors.New("the address of the server cannot be read")
	}
	u.Path, u.RawPath = "/"+name, ""
	return u.String(), nil
}

func connect(address string) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	return pgx.Connect(ctx, address)
}

// closeConn ends a connection politely, for which it takes a second at most.
func closeConn(conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return conn.Close(ctx)
}
