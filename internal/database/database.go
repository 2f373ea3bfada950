// Package database leads to the database that a program was told of: it reads the address, connects, brings the schema up to
// date, starts a server of the program's own, and explains to people why a connection cannot be had.
package database

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/internal/console"
	"github.com/rouse-es/rouse/migrations"
)

const (
	// connectTimeout is for one attempt to connect, unless the address or PGCONNECT_TIMEOUT says otherwise.
	connectTimeout = 5 * time.Second

	// MinConns is the least that the pool of a worker can do with: two for its projection, one to try the push with, one to spare.
	MinConns = 4

	// maxApplicationName is what PostgreSQL keeps of a name, in bytes.
	maxApplicationName = 63
)

// ErrAddress means that the address of the database cannot be read. It says nothing of the address, which may hold a password.
var ErrAddress = errors.New("the address of the database cannot be read" +
	" (write it as postgres://user:password@host:port/database, with special characters of the password percent-encoded, or as host=... dbname=... words)")

// ErrAddressFile means that the address, or a PGSSL* variable, names a file that is not there or cannot be read.
var ErrAddressFile = errors.New("the address of the database names a file that cannot be read")

// Database says where the database is and how connections to it are made.
type Database struct {
	// Program is the name of this program, which the server shows for each connection, before what the connection is for. Empty: rouse.
	Program string

	// URL is the address, in one of the forms that libpq knows. Empty: PostgreSQL's own variables say it.
	URL string

	// Schema holds Rouse's tables. Empty: search_path says it.
	Schema string

	// TracePool makes the connections of pools have spans. Nil: they have none.
	TracePool func(cfg *pgxpool.Config)

	// TunePool changes the configuration of pools. Nil: it is that of the address.
	TunePool func(cfg *pgxpool.Config)

	listen *pgconn.Config // what ListenConfig has read first; nil: nothing
}

// PoolConfig reads the address, from the flag or from what PostgreSQL's own variables say, and has the pool read the files that
// it names again before each connect. name is what the connections are for, such as worker.
func (d *Database) PoolConfig(name string) (*pgxpool.Config, error) {
	address := clean(d.URL)
	cfg, err := pgxpool.ParseConfig(address)
	if err != nil {
		return nil, addressError(err)
	}
	cfg.MaxConns = max(cfg.MaxConns, MinConns)
	d.complete(cfg.ConnConfig, address, name)
	cfg.BeforeConnect = refresh(address)
	return cfg, nil
}

// clean returns an address without what a file or a shell has left around it: white space, such as the line break at the end of a
// secret, and a pair of quotes.
func clean(address string) string {
	address = strings.TrimSpace(address)
	for _, quote := range []string{`"`, "'"} {
		if inner, is := strings.CutPrefix(address, quote); is && strings.HasSuffix(inner, quote) {
			return strings.TrimSpace(strings.TrimSuffix(inner, quote))
		}
	}
	return address
}

// complete sets what is the same for every connection.
func (d *Database) complete(cfg *pgx.ConnConfig, address, name string) {
	if severalHosts(&cfg.Config) && !strings.Contains(address, sessionAttrs) && os.Getenv("PGTARGETSESSIONATTRS") == "" {
		cfg.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsPrimary
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectTimeout
	}
	cfg.RuntimeParams["application_name"] = console.Clip(d.application(name), maxApplicationName)
	if d.Schema != "" {
		cfg.RuntimeParams["search_path"] = pgx.Identifier{d.Schema}.Sanitize()
	}
}

// application is what the server shows of a connection.
func (d *Database) application(name string) string {
	program := d.Program
	if program == "" {
		program = "rouse"
	}
	return strings.TrimSuffix(program+" "+name, " ")
}

// sessionAttrs is the parameter of an address that says which of several hosts will do.
const sessionAttrs = "target_session_attrs"

// severalHosts reports whether an address names more than one host. Nothing that this program does is of use at a standby, so of
// several hosts it is the primary that is meant, unless the address says otherwise.
func severalHosts(cfg *pgconn.Config) bool {
	return slices.ContainsFunc(cfg.Fallbacks, func(f *pgconn.FallbackConfig) bool { return f.Host != cfg.Host || f.Port != cfg.Port })
}

// ListenConfig reads the address of the listening connection. The first call must have returned before there are others.
func (d *Database) ListenConfig(address, name string) (*pgx.ConnConfig, error) {
	address = clean(address)
	cfg, err := pgx.ParseConfig(address)
	if err != nil {
		return nil, addressError(err)
	}
	d.complete(cfg, address, name)
	if d.listen == nil { // messages tell by it which address failed; its secrets may change, and it does not
		d.listen = &cfg.Config
	}
	return cfg, nil
}

// Connect opens one connection.
func (d *Database) Connect(ctx context.Context, name string) (*pgx.Conn, error) {
	cfg, err := d.PoolConfig(name)
	if err != nil {
		return nil, err
	}
	return pgx.ConnectConfig(ctx, cfg.ConnConfig)
}

// Pool opens a pool of at least conns connections and proves that it leads to a database.
func (d *Database) Pool(ctx context.Context, name string, conns int) (*pgxpool.Pool, error) {
	cfg, err := d.PoolConfig(name)
	if err != nil {
		return nil, err
	}
	cfg.MaxConns = max(cfg.MaxConns, int32(conns))
	if d.TunePool != nil {
		d.TunePool(cfg)
	}
	if d.TracePool != nil {
		d.TracePool(cfg)
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

// WithSchema runs do on a pool of a database whose schema is that of this binary.
func (d *Database) WithSchema(ctx context.Context, name string, do func(pool *pgxpool.Pool) error) error {
	pool, err := d.Pool(ctx, name, 1)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := migrations.Check(ctx, pool); err != nil {
		return err
	}
	return do(pool)
}

// Migrate brings the schema up to date, and calls blocked, unless it is nil, whenever a session is in the way. It returns how many
// migrations were applied, and the version that the schema then has.
func (d *Database) Migrate(ctx context.Context, blocked func(*migrations.BlockedError)) (applied, version int, err error) {
	conn, err := d.Connect(ctx, "migrate")
	if err != nil {
		return 0, 0, err
	}
	defer Close(conn)
	if applied, err = migrations.UpReporting(ctx, conn, blocked); err != nil {
		return 0, 0, err
	}
	if err := migrations.Check(ctx, conn); err != nil { // newer than this binary understands
		return 0, 0, err
	}
	version, _, err = migrations.Version(ctx, conn)
	return applied, version, err
}

// Carry has the pushes of the log carry events, or not, and calls blocked as Migrate does.
func (d *Database) Carry(ctx context.Context, on bool, blocked func(*migrations.BlockedError)) error {
	conn, err := d.Connect(ctx, "migrate")
	if err != nil {
		return err
	}
	defer Close(conn)
	return migrations.Carry(ctx, conn, on, blocked)
}

// Close says goodbye to the server, for which it takes a second at most.
func Close(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}

// Where is the server that the address leads to, for people: host and port, no role and no password.
func (d *Database) Where() string {
	cfg, err := d.PoolConfig("")
	if err != nil {
		return "the address given"
	}
	return place(&cfg.ConnConfig.Config)
}

// place is the server that a connection was to lead to, for people: host and port.
func place(c *pgconn.Config) string {
	if strings.HasPrefix(c.Host, "/") {
		return c.Host
	}
	return net.JoinHostPort(c.Host, fmt.Sprint(c.Port))
}
