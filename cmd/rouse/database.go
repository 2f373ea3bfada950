package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/migrations"
)

const (
	// connectTimeout is for one attempt to connect, unless the address or PGCONNECT_TIMEOUT says otherwise.
	connectTimeout = 5 * time.Second

	// minConns is the least that the pool of a worker can do with: two for its projection, one to try the push with, one to spare.
	minConns = 4

	// maxApplicationName is what PostgreSQL keeps of a name, in bytes.
	maxApplicationName = 63
)

// errAddress means that the address of the database cannot be read. It says nothing of the address, which may hold a password.
var errAddress = errors.New("the address of the database cannot be read" +
	" (write it as postgres://user:password@host:port/database, with special characters of the password percent-encoded, or as host=... dbname=... words)")

// errAddressFile means that the address, or a PGSSL* variable, names a file that is not there or cannot be read.
var errAddressFile = errors.New("the address of the database names a file that cannot be read")

// poolConfig reads the address, from the flag or from what PostgreSQL's own variables say. name is what the server shows of
// the connections.
func (a *app) poolConfig(name string) (*pgxpool.Config, error) {
	cfg, err := pgxpool.ParseConfig(a.databaseURL)
	if err != nil {
		return nil, addressError(err)
	}
	cfg.MaxConns = max(cfg.MaxConns, minConns)
	a.complete(cfg.ConnConfig, name)
	return cfg, nil
}

// complete sets what is the same for every connection.
func (a *app) complete(cfg *pgx.ConnConfig, name string) {
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectTimeout
	}
	cfg.RuntimeParams["application_name"] = clip(name, maxApplicationName)
	if a.schema != "" {
		cfg.RuntimeParams["search_path"] = pgx.Identifier{a.schema}.Sanitize()
	}
}

// listenConfig reads the address of the listening connection.
func (a *app) listenConfig(address, name string) (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(address)
	if err != nil {
		return nil, usageError{fmt.Errorf("--listen-url: %w", addressError(err))}
	}
	a.complete(cfg, name)
	return cfg, nil
}

// connect opens one connection.
func (a *app) connect(ctx context.Context, name string) (*pgx.Conn, error) {
	cfg, err := a.poolConfig(name)
	if err != nil {
		return nil, err
	}
	return pgx.ConnectConfig(ctx, cfg.ConnConfig)
}

// pool opens a pool for at least so many connections and proves that it leads to a database.
func (a *app) pool(ctx context.Context, name string, conns int) (*pgxpool.Pool, error) {
	cfg, err := a.poolConfig(name)
	if err != nil {
		return nil, err
	}
	cfg.MaxConns = max(cfg.MaxConns, int32(conns))
	if a.tracePool != nil {
		a.tracePool(cfg)
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	return pool, nil
}

// withSchema runs do on a pool of a database whose schema is that of this binary.
func (a *app) withSchema(ctx context.Context, name string, do func(pool *pgxpool.Pool) error) error {
	pool, err := a.pool(ctx, name, 1)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := migrations.Check(ctx, pool); err != nil {
		return err
	}
	return do(pool)
}

// closeConn says goodbye to the server, for which it takes a second at most.
func closeConn(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}

// where is the server that the address leads to, for people: host and port, no role and no password.
func (a *app) where() string {
	cfg, err := a.poolConfig("rouse")
	if err != nil {
		return "the address given"
	}
	c := cfg.ConnConfig
	if strings.HasPrefix(c.Host, "/") {
		return c.Host
	}
	return net.JoinHostPort(c.Host, fmt.Sprint(c.Port))
}

// loginRefused explains why the server took a connection and then ended it.
func loginRefused(where string, pgErr *pgconn.PgError) string {
	switch pgErr.Code {
	case "28P01": // invalid_password
		return fmt.Sprintf("PostgreSQL at %s refuses the login: %s (check the password in DATABASE_URL or PGPASSWORD)", where, pgErr.Message)
	case "28000": // invalid_authorization_specification
		return fmt.Sprintf("PostgreSQL at %s refuses the login: %s (check the role in DATABASE_URL, and pg_hba.conf)", where, pgErr.Message)
	case "3D000": // invalid_catalog_name
		return fmt.Sprintf("PostgreSQL at %s has no such database: %s (create it, or name another in DATABASE_URL)", where, pgErr.Message)
	case "42501": // insufficient_privilege: no CONNECT on the database
		return fmt.Sprintf("PostgreSQL at %s refuses the login: %s (grant CONNECT to the role)", where, pgErr.Message)
	case "53300": // too_many_connections
		return fmt.Sprintf("PostgreSQL at %s has no connection left: %s (raise max_connections, or stop other clients)", where, pgErr.Message)
	}
	return fmt.Sprintf("PostgreSQL at %s ended the connection: %s (SQLSTATE %s; run the command again when it is back)", where, pgErr.Message, pgErr.Code)
}

// isOutage tells whether a SQLSTATE means that the server, or the session, is going away.
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

// clip shortens a text to at most n bytes, never inside a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
