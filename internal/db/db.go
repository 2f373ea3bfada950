// Package db holds what the worker sends its statements through: a pool, and the schema that holds Rouse's tables.
//
// The worker shares its pool with handlers, and a handler may leave anything on a session: a search_path, a role, temporary
// tables with the names of Rouse's. So no statement of the worker's finds a table by search_path. In the embedded files each
// table stands with the schema rouse, as in rouse.events, and Statement.In puts the real one in its place.
package db

import (
	"context"
	"io/fs"
	"regexp"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// DB is a *pgxpool.Pool or a *Pool.
type DB interface {
	Acquire(ctx context.Context) (*pgxpool.Conn, error)
	BeginTx(ctx context.Context, opts pgx.TxOptions) (pgx.Tx, error)
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// Pool is a pool, and the schema that holds Rouse's tables in its database.
type Pool struct {
	*pgxpool.Pool
	Schema string

	// Leads puts Schema before the search_path of the session in the transactions of handlers.
	Leads bool

	// Ahead is a schema that the transactions of handlers have first in their search_path, before Schema. "": none.
	Ahead string

	// Gate bounds how many connections are used at once. nil: the pool does.
	Gate *Gate
}

// Leave closes the connections of the pool if err came of a standby: the name led there, and the next connections go to where
// it leads now. Those in use are closed when they come back.
func (p *Pool) Leave(err error) {
	if IsStandby(err) {
		p.Reset()
	}
}

// Behind returns p with a schema ahead.
func (p *Pool) Behind(schema string) *Pool {
	behind := *p
	behind.Ahead = schema
	return &behind
}

// Path returns what the transactions of handlers have before the search_path of their session, "" for nothing.
func (p *Pool) Path() string {
	var path []string
	if p.Ahead != "" {
		path = append(path, pgx.Identifier{p.Ahead}.Sanitize())
	}
	if p.Leads {
		path = append(path, pgx.Identifier{p.Schema}.Sanitize())
	}
	return strings.Join(path, ", ")
}

// In returns pool with schema. An empty schema leaves it to the search_path of each session.
func In(pool *pgxpool.Pool, schema string) *Pool { return &Pool{Pool: pool, Schema: schema} }

// SchemaOf returns the schema of a *Pool, and "" for any other DB.
func SchemaOf(d DB) string {
	if p, is := d.(*Pool); is {
		return p.Schema
	}
	return ""
}

// Statement is the text of one embedded file. It may be used by many goroutines.
type Statement struct {
	text string
	in   sync.Map // by schema: the text for it
}

// Load returns the statement in sql/NAME.sql of files. It panics if there is none, because the program is then not whole.
func Load(files fs.FS, name string) *Statement {
	text, err := fs.ReadFile(files, "sql/"+name+".sql")
	if err != nil {
		panic("db: " + err.Error())
	}
	return &Statement{text: string(text)}
}

// tables finds the tables, the view and the function of Rouse in a statement. Comments are left as they are.
var tables = regexp.MustCompile(`\brouse\.(events|projections|retired_projections|projection_checkpoints|projection_workers|parked_events` +
	`|event_attempts|rouse_incarnation|rouse_incarnation_now|rouse_restart|rouse_members|rouse_migrations|rouse_program_migrations|rouse_push_key` +
	`|rouse_retention|rouse_archives|rouse_erasures)\b`)

// In returns the statement for tables in schema. With an empty schema the session's search_path finds them.
func (s *Statement) In(schema string) string {
	if text, done := s.in.Load(schema); done {
		return text.(string)
	}
	prefix := ""
	if schema != "" {
		prefix = strings.ReplaceAll(pgx.Identifier{schema}.Sanitize(), "$", "$$") + "."
	}
	text, _ := s.in.LoadOrStore(schema, tables.ReplaceAllString(s.text, prefix+"$1"))
	return text.(string)
}

// For returns the statement for the schema of d.
func (s *Statement) For(d DB) string { return s.In(SchemaOf(d)) }
