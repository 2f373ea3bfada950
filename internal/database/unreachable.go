package database

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"

	statements "github.com/rouse-es/rouse/internal/db"
)

// Unreachable explains what keeps a connection from being made, or ended it. unreachable is false if err is something else.
func (d *Database) Unreachable(err error) (sentence string, unreachable bool) {
	where, from := d.Where(), givenIn
	var connect *pgconn.ConnectError
	var pgErr *pgconn.PgError
	if errors.As(err, &connect) {
		where = place(connect.Config) // there may be another address to listen at
		if d.listens(connect.Config) {
			from = listenGivenIn
		}
	}
	if sentence, refused := tlsRefused(where, from, err); refused {
		return sentence, true
	}
	switch isConnect := connect != nil; {
	case errors.As(err, &pgErr) && (isConnect || isOutage(pgErr.Code)):
		return loginRefused(where, from, pgErr), true
	case isConnect:
		return fmt.Sprintf("cannot reach PostgreSQL at %s: %s (is it running? set %s to where it is)",
			where, rootCause(err), from.address), true
	case isNetwork(err):
		return fmt.Sprintf("lost the connection to PostgreSQL at %s: %s (run the command again when it is back)", where, rootCause(err)), true
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("PostgreSQL at %s did not answer in time (is it overloaded, or is a lock held?)", where), true
	}
	return "", false
}

// given says where people have set an address, and the password and the authority of its certificate.
type given struct{ address, password, authority string }

var (
	givenIn       = given{"DATABASE_URL or --database-url", "DATABASE_URL or PGPASSWORD", "DATABASE_URL"}
	listenGivenIn = given{"ROUSE_LISTEN_URL or --listen-url", "ROUSE_LISTEN_URL or --listen-url", "ROUSE_LISTEN_URL or --listen-url"}
)

// listens reports whether c is of the address to listen at, and not of that of the pool.
func (d *Database) listens(c *pgconn.Config) bool {
	if d.listen == nil || !sameLogin(c, d.listen) {
		return false
	}
	pool, err := d.PoolConfig("")
	return err != nil || !sameLogin(c, &pool.ConnConfig.Config)
}

// sameLogin reports whether two configurations lead to the same place as the same role.
func sameLogin(a, b *pgconn.Config) bool {
	return a.Host == b.Host && a.Port == b.Port && a.User == b.User && a.Database == b.Database
}

// loginRefused explains why the server took a connection and then ended it.
func loginRefused(where string, from given, pgErr *pgconn.PgError) string {
	switch pgErr.Code {
	case statements.PoolerRefuses:
		if _, parameter, is := strings.Cut(pgErr.Message, "unsupported startup parameter"); is {
			return unsupported(where, strings.Trim(parameter, `: "`))
		}
		return fmt.Sprintf("the pooler at %s refuses: %s (its pool_mode has to be transaction or session, and there has to be room: max_client_conn, default_pool_size)", where, pgErr.Message)
	case "28P01": // invalid_password
		return fmt.Sprintf("PostgreSQL at %s refuses the login: %s (check the password in %s)", where, pgErr.Message, from.password)
	case "28000": // invalid_authorization_specification
		return fmt.Sprintf("PostgreSQL at %s refuses the login: %s (check the role in %s, and pg_hba.conf)", where, pgErr.Message, from.authority)
	case "3D000": // invalid_catalog_name
		return fmt.Sprintf("PostgreSQL at %s has no such database: %s (create it, or name another in %s)", where, pgErr.Message, from.authority)
	case "42501": // insufficient_privilege: no CONNECT on the database
		return fmt.Sprintf("PostgreSQL at %s refuses the login: %s (grant CONNECT to the role)", where, pgErr.Message)
	case "42704": // undefined_object: a parameter that is meant for another driver
		return fmt.Sprintf("PostgreSQL at %s does not know a parameter of the address: %s (remove it from the address)", where, pgErr.Message)
	case "53300": // too_many_connections
		return fmt.Sprintf("PostgreSQL at %s has no connection left: %s (raise max_connections, or stop other clients)", where, pgErr.Message)
	}
	return fmt.Sprintf("PostgreSQL at %s ended the connection: %s (SQLSTATE %s; run the command again when it is back)", where, pgErr.Message, pgErr.Code)
}

// unsupported explains that a pooler does not pass a parameter on.
func unsupported(where, parameter string) string {
	parameter = strings.TrimPrefix(parameter, "in options: ")
	if parameter == "search_path" {
		return fmt.Sprintf("the pooler at %s does not take the parameter search_path, which --schema sends (let the database set it, by alter role ROLE set search_path = SCHEMA, and leave --schema out, or name search_path in ignore_startup_parameters of PgBouncer)",
			where)
	}
	return fmt.Sprintf("the pooler at %s does not take the parameter %s (name it in ignore_startup_parameters of PgBouncer, or remove it from the address)", where, parameter)
}

// isOutage reports whether a SQLSTATE means that the server, or the session, is going away.
func isOutage(code string) bool {
	switch code {
	case "57P01", "57P02", "57P03", "57P05": // shutdowns, cannot connect now, idle session timeout
		return true
	}
	return strings.HasPrefix(code, "08") || strings.HasPrefix(code, "28") || code == "53300"
}

func isNetwork(err error) bool {
	var netErr *net.OpError
	return errors.As(err, &netErr) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)
}

// rootCause is the last cause of an error of the network, in the words of the system.
func rootCause(err error) string {
	var dns *net.DNSError
	var errno syscall.Errno
	switch {
	case errors.As(err, &dns):
		return "the host name is unknown"
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "no answer in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed"
	}
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		err = connect.Unwrap() // its own message repeats role and database
	}
	return err.Error()
}
