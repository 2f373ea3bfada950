package setup

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/migrations"
)

// errAddress means that the address of the database cannot be read. It says nothing of the address, which may hold a password.
var errAddress = errors.New("DATABASE_URL cannot be read" +
	" (write it as postgres://user:password@host:port/database, with special characters of the password percent-encoded)")

// explain makes one sentence of an error, with what to do about it.
func explain(err error) string {
	cfg, _, configErr := config()
	if configErr != nil {
		return oneLine(err)
	}
	c := cfg.ConnConfig
	var connect *pgconn.ConnectError
	var pgErr *pgconn.PgError
	switch isConnect := errors.As(err, &connect); {
	case errors.Is(err, migrations.ErrMissing), errors.Is(err, migrations.ErrOlder), errors.Is(err, eventstore.ErrNotMigrated):
		return fmt.Sprintf("the database %s on %s has not the schema of Rouse, or an older one (apply the migrations: cd ../basic && go generate, or: rouse migrate)",
			c.Database, where(c))
	case isConnect && errors.As(err, &pgErr) && pgErr.Code == "3D000": // invalid_catalog_name
		return fmt.Sprintf("there is no database %s on %s (create it: createdb -h %s -p %d -U %s %s, or name another in DATABASE_URL)",
			c.Database, where(c), c.Host, c.Port, c.User, c.Database)
	case isConnect && errors.As(err, &pgErr):
		return fmt.Sprintf("PostgreSQL on %s refuses the connection: %s (see DATABASE_URL)", where(c), pgErr.Message)
	case isConnect:
		return fmt.Sprintf("cannot reach PostgreSQL on %s: %s (start it, or set DATABASE_URL to where it is)", where(c), cause(err))
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("PostgreSQL on %s did not answer in time (is it overloaded, or is a lock held?)", where(c))
	}
	return oneLine(err)
}

// cause is why a connection could not be made, in the words of the system.
func cause(err error) string {
	var dns *net.DNSError
	var errno syscall.Errno
	switch {
	case errors.As(err, &dns):
		return "the host name is unknown"
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "no answer in time"
	}
	return oneLine(err)
}

// oneLine is the message of an error on one line, without the prefix of the package that it comes from.
func oneLine(err error) string {
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	for _, prefix := range []string{"rouse: ", "migrations: ", "projection: ", "partition: ", "catchup: ", "eventstore: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return text
}
