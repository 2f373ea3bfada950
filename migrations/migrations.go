// Package migrations holds the schema of Rouse: the tables and the two triggers that every append carries.
//
// Migrations are numbered SQL files that only go forward. Each names, in its head comment, the oldest binary that still
// works once it has been applied; that is how a worker of the previous release keeps running on the next schema. A worker
// never migrates by itself: it calls Check, and somebody with the rights calls Up or runs what Print prints.
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
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
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

	// ErrNewer means that the schema has moved on past what this binary understands.
	ErrNewer = errors.New("migrations: the schema is newer than this binary understands (deploy a newer rouse)")

	// ErrEncoding means that the database is not encoded in UTF8, which slots depend on.
	ErrEncoding = errors.New("migrations: the database is not encoded in UTF8 (create one with: create database NAME encoding 'UTF8' template template0)")

	// ErrNoSchema means that search_path names no schema that exists, so there is nowhere to create the tables.
	ErrNoSchema = errors.New("migrations: search_path names no existing schema (create it, or set search_path)")
)

// lockKey is the first key of the advisory lock that migrations take, 'rouM' in ASCII; the second is a hash of the
// schema's name. Two-integer keys never meet those of the append trigger, which are one bigint.
const lockKey = 1919907149

// Timeout is how long Up and Locked wait for other processes that migrate, and how long one of their statements may run.
const Timeout = 2 * time.Minute

type migration struct {
	version, oldest int
	name, sql       string
}

var all = mustLoad()

// Latest is the version of the schema that this binary was made for.
func Latest() int { return all[len(all)-1].version }

// Querier is what Check reads through: a pool, a connection or a transaction.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

var fileName = regexp.MustCompile(`^(\d{4})_(\w+)\.sql$`)
var oldestLine = regexp.MustCompile(`(?m)^-- oldest binary that works on it: (\d+)$`)

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
		out = append(out, migration{version: version, oldest: oldest, name: m[2], sql: string(sql)})
	}
	return out
}

func statement(name string) string {
	sql, err := statements.ReadFile("sql/" + name + ".sql")
	if err != nil {
		panic(err)
	}
	return string(sql)
}

// Version is the version of the schema that q sees, 0 if there is none, and the oldest binary that works on it.
func Version(ctx context.Context, q Querier) (version, oldest int, err error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	err = q.QueryRow(ctx, statement("version")).Scan(&version, &oldest)
	var pgErr *pgconn.PgError
	switch {
	case errors.As(err, &pgErr) && pgErr.Code == "42P01": // undefined_table
		return 0, 0, nil
	case err != nil:
		return 0, 0, fmt.Errorf("migrations: read the schema's version: %w", err)
	}
	return version, oldest, nil
}

// Check tells whether this binary can work on the schema that q sees: nil, or an error that wraps ErrMissing, ErrOlder or
// ErrNewer. It takes no lock and changes nothing. Do not call it inside a transaction that must go on: where there is no
// schema at all, PostgreSQL aborts the transaction.
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

// Up brings the schema to the latest version and returns how many migrations it applied. All of them commit together or
// not at all. Any number of processes may call it at once: where the schema is current it takes no lock, otherwise one
// process migrates and the others wait for it, at most Timeout. A schema that is newer than this binary is left alone.
func Up(ctx context.Context, conn *pgx.Conn) (applied int, err error) {
	version, _, err := Version(ctx, conn)
	if err != nil || version >= Latest() {
		return 0, err
	}
	err = Locked(ctx, conn, func(tx pgx.Tx) error {
		if err := prepare(ctx, tx); err != nil {
			return err
		}
		if version, _, err = Version(ctx, tx); err != nil {
			return err
		}
		for _, m := range all[min(version, len(all)):] {
			if err := apply(ctx, tx, m); err != nil {
				return err
			}
			applied++
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return applied, nil
}

// Locked runs f in a transaction that holds the migration lock of the current schema, so that f may create what several
// processes would otherwise create at once.
func Locked(ctx context.Context, conn *pgx.Conn, f func(tx pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, statement("lock"), lockKey, Timeout.Milliseconds()); err != nil {
			return fmt.Errorf("migrations: wait for the migration lock: %w", err)
		}
		return f(tx)
	})
}

func prepare(ctx context.Context, tx pgx.Tx) error {
	var encoding string
	var schema *string
	if err := tx.QueryRow(ctx, "select getdatabaseencoding(), current_schema()").Scan(&encoding, &schema); err != nil {
		return fmt.Errorf("migrations: look at the database: %w", err)
	}
	if encoding != "UTF8" {
		return fmt.Errorf("%w: it is %s", ErrEncoding, encoding)
	}
	if schema == nil {
		return ErrNoSchema
	}
	if _, err := tx.Exec(ctx, statement("create_versions")); err != nil {
		return fmt.Errorf("migrations: create the table of versions (the role needs CREATE on schema %s): %w", *schema, err)
	}
	return nil
}

func apply(ctx context.Context, tx pgx.Tx, m migration) error {
	// The simple protocol runs a whole file in one round trip, inside the transaction that is open.
	if _, err := tx.Conn().PgConn().Exec(ctx, m.sql).ReadAll(); err != nil {
		return fmt.Errorf("migrations: apply %04d_%s: %w", m.version, m.name, err)
	}
	if _, err := tx.Exec(ctx, statement("record"), m.version, m.name, m.oldest); err != nil {
		return fmt.Errorf("migrations: record %04d_%s: %w", m.version, m.name, err)
	}
	return nil
}

// Print writes all migrations as one script for people who apply schemas with a tool of their own. It is meant for a schema
// without Rouse tables and ends by recording the versions, so that Check is satisfied.
func Print(w io.Writer) error {
	script := "begin;\n\n" + statement("create_versions") + ";\n"
	for _, m := range all {
		script += fmt.Sprintf("\n%s\ninsert into rouse_migrations (version, name, oldest_binary) values (%d, '%s', %d);\n",
			m.sql, m.version, m.name, m.oldest)
	}
	_, err := io.WriteString(w, script+"\ncommit;\n")
	return err
}
