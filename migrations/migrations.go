// Package migrations holds the schema of Rouse: the tables and the two triggers that every append carries.
//
// Migrations are numbered SQL files that only go forward. Each names, in its head comment, the oldest binary that still
// works once it has been applied; by that a worker of the previous release keeps running on the next schema. A worker
// never migrates by itself: it calls Check, and an operator with the rights calls Up or runs the script of Print.
package migrations

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rouse-es/rouse/internal/db"
)

//go:embed *.sql
var files embed.FS

//go:embed sql/*.sql
var statements embed.FS

var (
	// ErrMissing means that the schema has no Rouse tables.
	ErrMissing = errors.New("migrations: the schema has no Rouse tables (run `rouse migrate`)")

	// ErrOlder means that the schema is older than this binary needs.
	ErrOlder = errors.New("migrations: the schema is older than this binary (run `rouse migrate`)")

	// ErrNewer means that the schema is too new: this binary does not understand it.
	ErrNewer = errors.New("migrations: the schema is newer than this binary understands (deploy a newer rouse)")

	// ErrEncoding means that the database is not encoded in UTF8, which slots depend on.
	ErrEncoding = errors.New("migrations: the database is not encoded in UTF8 (create one with: create database NAME encoding 'UTF8' template template0)")

	// ErrNoSchema means that search_path names no schema that exists, so there is nowhere to create the tables.
	ErrNoSchema = errors.New("migrations: search_path names no existing schema (create it, or set search_path)")
)

// lockKey is the first key of the advisory lock that migrations take, 'rouM' in ASCII; the second is a hash of the
// schema's name. Two-integer keys never meet those of the append trigger, which are one bigint.
const lockKey = 1919907149

// Timeout is how long Up and Locked wait for other processes that migrate, how long one of their statements may run, and how
// long Up goes on to try for the locks on its tables.
const Timeout = 2 * time.Minute

// migration is one numbered file: its version, the oldest binary that works on it, its name and its text, and the tables
// and views that it has alone, in the order in which workers lock them.
type migration struct {
	version, oldest int
	name, sql       string
	locks           []string
}

// all has every migration, in the order of versions.
var all = mustLoad()

// Latest returns the version of the schema that this binary was made for.
func Latest() int { return all[len(all)-1].version }

// Querier is the source of the reads of Check: a pool, a connection or a transaction.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

var fileName = regexp.MustCompile(`^(\d{4})_(\w+)\.sql$`)
var oldestLine = regexp.MustCompile(`(?m)^-- oldest binary that works on it: (\d+)$`)
var locksLine = regexp.MustCompile(`(?m)^-- locks: ([a-z_, ]+)$`)

// mustLoad returns the embedded migrations. It panics if their numbers or head comments are wrong, which is a fault of
// the build.
func mustLoad() []migration {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		panic(err)
	}
	var out []migration
	for _, name := range names {
		m := fileName.FindStringSubmatch(name)
		sql, err := files.ReadFile(name)
		o := oldestLine.FindSubmatch(sql)
		if m == nil || err != nil || o == nil {
			panic("migrations: " + name + " has no number or does not name the oldest binary that works on it")
		}
		version, _ := strconv.Atoi(m[1])
		oldest, _ := strconv.Atoi(string(o[1]))
		if version != len(out)+1 || oldest > version {
			panic("migrations: " + name + " is out of order")
		}
		next := migration{version: version, oldest: oldest, name: m[2], sql: string(sql)}
		if l := locksLine.FindSubmatch(sql); l != nil {
			next.locks = strings.Split(string(l[1]), ", ")
		}
		out = append(out, next)
	}
	return out
}

// statement returns the embedded statement sql/NAME.sql.
func statement(name string) string {
	sql, err := statements.ReadFile("sql/" + name + ".sql")
	if err != nil {
		panic(err)
	}
	return string(sql)
}

// sqlVersion alone of the statements names the schema of its tables: workers send it.
var sqlVersion = db.Load(statements, "version")

// schemaOf returns the schema that q names if it is a *db.Pool, and "" otherwise: search_path finds it.
func schemaOf(q Querier) string {
	if d, is := q.(db.DB); is {
		return db.SchemaOf(d)
	}
	return ""
}

// Version returns the version of the schema that q sees, or that it names if it is a *db.Pool, 0 if there is none, and the oldest
// binary that works on it.
func Version(ctx context.Context, q Querier) (version, oldest int, err error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	err = q.QueryRow(ctx, sqlVersion.In(schemaOf(q))).Scan(&version, &oldest)
	var pgErr *pgconn.PgError
	switch {
	case errors.As(err, &pgErr) && pgErr.Code == "42P01": // undefined_table
		return 0, 0, nil
	case err != nil:
		return 0, 0, fmt.Errorf("migrations: read the schema's version: %w", err)
	}
	return version, oldest, nil
}

// Check returns nil if this binary can work on the schema that q sees, or that it names if it is a *db.Pool, and otherwise an error
// that wraps ErrMissing, ErrOlder or ErrNewer. It takes no lock and changes nothing. Do not call it inside a transaction that must go on:
// where there is no schema at all, PostgreSQL aborts the transaction.
func Check(ctx context.Context, q Querier) error {
	version, oldest, err := Version(ctx, q)
	switch {
	case err != nil:
		return err
	case version == 0:
		return ErrMissing
	case version < Latest():
		return fmt.Errorf("%w: it is at version %d and this binary needs %d", ErrOlder, version, Latest())
	case oldest > Latest():
		return fmt.Errorf("%w: it is at version %d, which works from binary version %d on, and this binary is %d",
			ErrNewer, version, oldest, Latest())
	}
	return nil
}

// Print writes all migrations as one script for operators who apply schemas with a tool of their own. It is meant for a
// schema without Rouse tables and ends by recording the versions, so that Check is satisfied.
func Print(w io.Writer) error {
	script := "begin;\n\n" + statement("create_versions") + ";\n"
	for _, m := range all {
		script += fmt.Sprintf("\n%s\ninsert into rouse_migrations (version, name, oldest_binary) values (%d, '%s', %d);\n",
			m.sql, m.version, m.name, m.oldest)
	}
	_, err := io.WriteString(w, script+"\ncommit;\n")
	return err
}
