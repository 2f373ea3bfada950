// Package script applies the migrations of a program itself: files of SQL that make what its handlers write to, beside Rouse's own
// tables. Each is applied once, in the order of names, and recorded with a checksum.
package script

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/migrations"
)

//go:embed sql/*.sql
var files embed.FS

var (
	sqlCreate  = db.Load(files, "create_table")
	sqlRecord  = db.Load(files, "record")
	sqlApplied = db.Load(files, "applied")
	sqlSchema  = db.Load(files, "schema")
	sqlGrant   = db.Load(files, "grant")
)

var (
	// ErrMissing means that migrations of the program have not been applied yet.
	ErrMissing = errors.New("the database lacks migrations of this program (run rouse migrate)")

	// ErrChanged means that a file is another one than that which was applied under its name.
	ErrChanged = errors.New("a migration of this program was changed after it was applied here (put the file back as it was, and write another one for what is new; where another program that shares the schema has a file of this name, rename this one)")

	// ErrFiles means that the files cannot be migrations.
	ErrFiles = errors.New("the migrations of this program cannot be used")
)

// Error is what the server says to a migration.
type Error struct {
	Name string
	Line int // 0: it is not known
	Err  error
}

// Error implements error.
func (e *Error) Error() string {
	switch {
	case errors.Is(e.Err, context.DeadlineExceeded):
		return fmt.Sprintf("the migration %s did not end within %s, and nothing of it was done (end what holds a lock that it waits for; what takes longer is made in parts, or by hand)",
			e.Name, migrations.Timeout)
	case e.Line > 0:
		return fmt.Sprintf("the migration %s fails in line %d, and nothing of it was done: %v", e.Name, e.Line, e.Err)
	}
	return fmt.Sprintf("the migration %s fails, and nothing of it was done: %v", e.Name, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Script is one file.
type Script struct{ Name, SQL, Checksum string }

// Set is all files of a program, in the order of names.
type Set []Script

// undoing is the line by which other tools tell what undoes a migration, in the same file, from the migration.
var undoing = regexp.MustCompile(`(?mi)^--\s*(\+(goose|migrate)\s+down\b|migrate:down\b|--\s*create above / drop below)`)

// Load reads all files of a file system whose names end with .sql, in whatever folder. A name may occur once. Files of other tools that
// undo migrations are refused, since they would be applied like any other. nil: there are none.
func Load(from fs.FS) (set Set, err error) {
	if from == nil {
		return nil, nil
	}
	err = fs.WalkDir(from, ".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path.Ext(file) != ".sql" {
			return err
		}
		text, err := fs.ReadFile(from, file)
		if err != nil {
			return err
		}
		if strings.HasSuffix(file, ".down.sql") || undoing.Match(text) {
			return fmt.Errorf("%s undoes a migration, and all of it would be applied (leave out what undoes migrations: there is no way back here)", file)
		}
		set = append(set, newScript(path.Base(file), string(text)))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFiles, err)
	}
	slices.SortFunc(set, func(a, b Script) int { return strings.Compare(a.Name, b.Name) })
	for i := range set {
		if i > 0 && set[i].Name == set[i-1].Name {
			return nil, fmt.Errorf("%w: two files are named %s", ErrFiles, set[i].Name)
		}
	}
	return set, nil
}

// newScript makes the script of a file. How its lines end is no part of the checksum: version control may change that.
func newScript(name, text string) Script {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	sum := sha256.Sum256([]byte(text))
	return Script{Name: name, SQL: text, Checksum: hex.EncodeToString(sum[:])}
}

// Querier is what Check reads with: a pool, a connection, or a *db.Pool with a schema.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Check returns nil if all files were applied where q sees Rouse's tables, and otherwise an error that wraps ErrMissing or ErrChanged.
// It takes no lock and changes nothing.
func (s Set) Check(ctx context.Context, q Querier) error {
	schema := ""
	if d, is := q.(db.DB); is {
		schema = db.SchemaOf(d)
	}
	missing, err := s.missing(ctx, q, schema)
	switch {
	case err != nil:
		return err
	case len(missing) == 1:
		return fmt.Errorf("%w: %s", ErrMissing, missing[0].Name)
	case len(missing) > 0:
		return fmt.Errorf("%w: %d, from %s on", ErrMissing, len(missing), missing[0].Name)
	}
	return nil
}

// missing returns what has not been applied yet to the schema; "": search_path finds it.
func (s Set) missing(ctx context.Context, q Querier, schema string) (missing Set, err error) {
	if len(s) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, migrations.Timeout)
	defer cancel()
	rows, err := q.Query(ctx, sqlApplied.In(schema))
	applied := map[string]string{}
	if err == nil {
		var name, checksum string
		_, err = pgx.ForEachRow(rows, []any{&name, &checksum}, func() error { applied[name] = checksum; return nil })
	}
	var pgErr *pgconn.PgError
	if err != nil && (!errors.As(err, &pgErr) || pgErr.Code != "42P01") { // undefined_table: nothing was applied
		return nil, fmt.Errorf("read which migrations of the program were applied: %w", err)
	}
	for _, script := range s {
		switch checksum, is := applied[script.Name]; {
		case !is:
			missing = append(missing, script)
		case checksum != script.Checksum:
			return nil, fmt.Errorf("%w: %s", ErrChanged, script.Name)
		}
	}
	return missing, nil
}

// Grant returns the grant that the role of q lacks to see which migrations of programs were applied where q sees Rouse's tables;
// "": it lacks none. It takes no lock and changes nothing.
func Grant(ctx context.Context, q Querier) (grant string, err error) {
	ctx, cancel := context.WithTimeout(ctx, migrations.Timeout)
	defer cancel()
	rows, err := q.Query(ctx, sqlGrant.In(""))
	if err == nil {
		grant, err = pgx.CollectExactlyOneRow(rows, pgx.RowTo[string])
	}
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return "", fmt.Errorf("look at the rights to the migrations of programs: %w", err)
	}
	return grant, nil
}

// Up applies what is missing, in the order of names, each file in a transaction of its own under the lock of all migrations, and
// returns how many that were. Any number of processes may do this at once. An error of the server is an *Error; what was applied
// before it stays. Call it after Rouse's own migrations.
func (s Set) Up(ctx context.Context, conn *pgx.Conn) (applied int, err error) {
	if len(s) == 0 {
		return 0, nil
	}
	// By its name from here on: a statement that was prepared while search_path led to a table further on would stay with that one.
	var schema string
	if err := conn.QueryRow(ctx, sqlSchema.In("")).Scan(&schema); err != nil {
		return 0, fmt.Errorf("look for Rouse's tables: %w", err)
	}
	for {
		missing, err := s.missing(ctx, conn, schema)
		if err != nil || len(missing) == 0 {
			return applied, err
		}
		n := 0
		err = migrations.Locked(ctx, conn, func(tx pgx.Tx) error {
			n, err = s.next(ctx, tx, schema)
			return err
		})
		if err != nil {
			return applied, err
		}
		applied += n
		// What a file has set, such as the empty search_path that a dump begins with, is not meant for the next one.
		if _, err := conn.PgConn().Exec(ctx, "reset all; reset role").ReadAll(); err != nil {
			return applied, fmt.Errorf("reset what a migration of the program has set: %w", err)
		}
	}
}

// next applies the first file that is missing, unless another process has just done that.
func (s Set) next(ctx context.Context, tx pgx.Tx, schema string) (applied int, err error) {
	if _, err := tx.Exec(ctx, sqlCreate.In(schema)); err != nil {
		return 0, fmt.Errorf("create the table of the program's migrations: %w", err)
	}
	missing, err := s.missing(ctx, tx, schema)
	if err != nil || len(missing) == 0 {
		return 0, err
	}
	next := missing[0]
	// The simple protocol runs a whole file in one round trip, inside the transaction that is open.
	if _, err := tx.Conn().PgConn().Exec(ctx, next.SQL).ReadAll(); err != nil {
		return 0, &Error{Name: next.Name, Line: next.line(err), Err: err}
	}
	if tx.Conn().PgConn().TxStatus() != 'T' {
		return 0, fmt.Errorf("%w: %s ends the transaction that it is applied in (take commit and rollback out of it)", ErrFiles, next.Name)
	}
	if _, err := tx.Exec(ctx, sqlRecord.In(schema), next.Name, next.Checksum); err != nil {
		return 0, fmt.Errorf("record the migration %s: %w", next.Name, err)
	}
	return 1, nil
}

// line is where in the file the server has found something, 0 if it does not say.
func (s Script) line(err error) int {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || pgErr.Position < 1 {
		return 0
	}
	line := 1
	for i, r := range []rune(s.SQL) {
		if i >= int(pgErr.Position)-1 {
			break
		}
		if r == '\n' {
			line++
		}
	}
	return line
}

// Print writes all files as one script, which ends by recording them, for people who apply schemas with a tool of their own. A semicolon
// of its own ends each file, which may leave out its last one.
func (s Set) Print(w io.Writer) error {
	if len(s) == 0 {
		return nil
	}
	text := "\nbegin;\n\n" + sqlCreate.In("") + ";\n"
	for _, script := range s {
		text += "\n-- " + script.Name + "\n" + strings.TrimRight(script.SQL, "\n") + "\n;\n\ninsert into rouse_program_migrations (name, checksum) values ('" +
			strings.ReplaceAll(script.Name, "'", "''") + "', '" + script.Checksum + "');\n"
	}
	_, err := io.WriteString(w, text+"\ncommit;\n")
	return err
}
