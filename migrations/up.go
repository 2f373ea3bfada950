package migrations

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rouse-es/rouse/internal/db"
)

// A migration that waits for a table has everybody wait behind it: whoever comes later queues, readers too. So it waits for a
// short time only, lets everybody pass, and comes again.
const (
	// tableWait is how long an attempt waits for one of its tables: the first, or the one that the last attempt did not get. It is
	// longer than PostgreSQL's deadlock_timeout of 1 s, when a vacuum that is in the way gives up. Heartbeats, one a second,
	// wait for that and for the waits below, and so come before the 4 s after which a worker would not trust its leases.
	tableWait = 1200 * time.Millisecond

	// nextWait is how long an attempt waits for each other lock, with what it holds kept from everybody. All of them together
	// stay under deadlock_timeout.
	nextWait = 200 * time.Millisecond

	// tablePause is between two attempts: those that have queued behind the last one are through.
	tablePause = time.Second
)

// BlockedError means that a session kept a migration from a table.
type BlockedError struct {
	Table       string
	PID         int32     // the server's process; 0 for a prepared transaction, or if the session was gone before it was looked for
	Role        string    // whose session it is; "" if the server does not say
	Application string    // what the session calls itself, unless that is empty
	State       string    // such as "active" or "idle in transaction"; "" if this role may not see it
	Since       time.Time // when its transaction began; zero if this role may not see it
	Prepared    string    // the name of the prepared transaction, if it is one
	cause       error
}

// Error names the session and says what to do.
func (e *BlockedError) Error() string {
	table := "a table of Rouse's"
	if e.Table != "" {
		table = "table " + e.Table
	}
	text := table + " is in use by "
	switch {
	case e.Prepared != "":
		text += fmt.Sprintf("the prepared transaction %q", e.Prepared)
	case e.PID != 0:
		text += fmt.Sprintf("process %d", e.PID)
	default:
		text += "sessions that come and go"
	}
	if e.Role != "" {
		text += " of role " + fmt.Sprintf("%q", e.Role)
	}
	if e.Application != "" {
		text += fmt.Sprintf(", application %q", e.Application)
	}
	if e.State != "" {
		text += ", " + e.State
	}
	if !e.Since.IsZero() {
		text += ", since " + e.Since.UTC().Format(time.RFC3339)
	}
	return text
}

// Unwrap returns what the server said.
func (e *BlockedError) Unwrap() error { return e.cause }

// Up brings the schema to the latest version and returns how many migrations it applied. All of them commit together or
// not at all. Any number of processes may call it at once: where the schema is current it takes no lock, otherwise one
// process migrates and the others wait for it, at most Timeout. A schema that is newer than this binary is left alone.
//
// It may run beside workers and appends. A table that a session holds on to, such as a dump, is tried for again and again for
// up to Timeout, with all others let through in between; then the error wraps a BlockedError.
func Up(ctx context.Context, conn *pgx.Conn) (applied int, err error) {
	return UpReporting(ctx, conn, nil)
}

// UpReporting is Up, and calls report, unless it is nil, after each attempt that a session was in the way of.
func UpReporting(ctx context.Context, conn *pgx.Conn, report func(*BlockedError)) (applied int, err error) {
	u := upgrade{conn: conn, to: all, report: report}
	return u.run(ctx)
}

// upgrade brings the schema that conn sees to the last of its migrations.
type upgrade struct {
	conn   *pgx.Conn
	to     []migration
	report func(*BlockedError)
	first  string // the table to begin with, because an earlier attempt did not get it; "" at first
	missed string // the table that the last attempt did not get; "" if it was another lock
	inside bool   // whether the last attempt held the migration lock
}

func (u *upgrade) run(ctx context.Context) (applied int, err error) {
	version, _, err := Version(ctx, u.conn)
	if err != nil || version >= len(u.to) {
		return 0, err
	}
	return u.try(ctx, u.attempt)
}

// try makes attempts until one is not kept from a lock.
func (u *upgrade) try(ctx context.Context, attempt func(context.Context) (int, error)) (applied int, err error) {
	var blocked *BlockedError
	for until := time.Now().Add(Timeout); ; {
		applied, err = attempt(ctx)
		switch {
		case err == nil:
			return applied, nil
		case u.inside && kept(err) && ctx.Err() == nil:
			if blocked, err = u.look(ctx, err); err != nil {
				return 0, err
			}
			if u.report != nil {
				u.report(blocked)
			}
		case blocked != nil && ctx.Err() != nil:
			return 0, fmt.Errorf("migrations: %w: %w", ctx.Err(), blocked)
		default:
			return 0, err
		}
		if time.Now().After(until) {
			return 0, fmt.Errorf("migrations: tried for %s (end what is in the way, or wait for it, and migrate again): %w", Timeout, blocked)
		}
		select {
		case <-ctx.Done():
		case <-time.After(tablePause):
		}
	}
}

// kept reports whether another transaction kept a statement from a lock.
func kept(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && (pgErr.Code == "55P03" || pgErr.Code == "40P01") // lock_not_available, deadlock_detected
}

// attempt applies what is missing, in one transaction.
func (u *upgrade) attempt(ctx context.Context) (applied int, err error) {
	u.inside, u.missed = false, ""
	err = Locked(ctx, u.conn, func(tx pgx.Tx) error {
		u.inside = true
		if err := wait(ctx, tx, tableWait); err != nil {
			return err
		}
		if err := prepare(ctx, tx); err != nil {
			return err
		}
		version, _, err := Version(ctx, tx)
		if err != nil {
			return err
		}
		missing := u.to[min(version, len(u.to)):]
		if err := u.lock(ctx, tx, missing); err != nil {
			return err
		}
		for _, m := range missing {
			if err := apply(ctx, tx, m); err != nil {
				return err
			}
			applied++
		}
		return nil
	})
	return applied, err
}

// relation is a table or a view.
type relation struct {
	name string
	view bool
}

// lock takes the tables and views that the migrations lock, one by one: views first, because whoever reads one has its lock
// before those of its tables, and would wait for a table with the view's lock in hand; then what the last attempt did not get,
// so that as little as possible is held while it waits.
func (u *upgrade) lock(ctx context.Context, tx pgx.Tx, missing []migration) error {
	var names []string
	for _, m := range missing {
		names = append(names, m.locks...)
	}
	rows, err := tx.Query(ctx, statement("lockable"), names, u.first)
	if err != nil {
		return fmt.Errorf("migrations: look for the tables: %w", err)
	}
	relations, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r relation, err error) { return r, row.Scan(&r.name, &r.view) })
	if err != nil {
		return fmt.Errorf("migrations: look for the tables: %w", err)
	}
	for i, r := range relations {
		longest := nextWait
		if r.name == u.first || i == 0 && u.first == "" {
			longest = tableWait
		}
		if err := wait(ctx, tx, longest); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, r.lock()); err != nil {
			u.first, u.missed = r.name, r.name
			return fmt.Errorf("migrations: lock %s: %w", r.name, err)
		}
	}
	if len(relations) == 0 {
		return nil
	}
	return wait(ctx, tx, nextWait)
}

// lock returns the statement that takes r alone. LOCK would take all that a view reads with it, catalogs of the server too, so
// of a view an option is reset that it does not have.
func (r relation) lock() string {
	if r.view {
		return "alter view " + pgx.Identifier{r.name}.Sanitize() + " reset (security_barrier)"
	}
	return "lock table " + pgx.Identifier{r.name}.Sanitize() + " in access exclusive mode"
}

// wait sets how long the transaction waits for each of its locks from now on.
func wait(ctx context.Context, tx pgx.Tx, longest time.Duration) error {
	_, err := tx.Exec(ctx, "select set_config('lock_timeout', $1, true)", fmt.Sprintf("%dms", longest.Milliseconds()))
	if err != nil {
		return fmt.Errorf("migrations: set lock_timeout: %w", err)
	}
	return nil
}

// look finds the session that was in the way of an attempt, which has failed with cause.
func (u *upgrade) look(ctx context.Context, cause error) (*BlockedError, error) {
	e := &BlockedError{Table: u.missed, cause: cause}
	var since *time.Time
	err := u.conn.QueryRow(ctx, statement("in_the_way"), u.missed).Scan(&e.Table, &e.PID, &e.Role, &e.Application, &e.State, &since, &e.Prepared)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("migrations: look for the session in the way: %w: %w", err, cause)
	}
	if since != nil {
		e.Since = *since
	}
	return e, nil
}

// Locked runs f in a transaction that holds the migration lock of the current schema, so that f may create objects that
// several processes would otherwise create at once. It waits for the lock up to Timeout, which also bounds f. What role, database
// and address say about timeouts and transactions does not count.
func Locked(ctx context.Context, conn *pgx.Conn, f func(tx pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	begun := false
	err := pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite}, func(tx pgx.Tx) error {
		begun = true
		if _, err := tx.Exec(ctx, statement("settings"), fmt.Sprintf("%dms", Timeout.Milliseconds())); err != nil {
			return fmt.Errorf("migrations: set the limits of the transaction: %w", err)
		}
		if _, err := tx.Exec(ctx, statement("lock"), lockKey); err != nil {
			return fmt.Errorf("migrations: wait for the migration lock: %w", err)
		}
		return f(tx)
	})
	if !begun {
		return db.BeginError(err)
	}
	return err
}

// prepare creates the table of versions. It returns ErrEncoding or ErrNoSchema for a database that cannot have the
// schema.
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

// apply applies one migration and records it.
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
