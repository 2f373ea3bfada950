package migrations

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// rightsTimeout bounds the statement of CheckRights, which reads only catalogs.
const rightsTimeout = 10 * time.Second

var (
	// ErrRights means that the role lacks a right that a worker needs; the message has the grants.
	ErrRights = errors.New("migrations: the role lacks rights that a worker needs")

	// ErrIncomplete means that a table or view of the schema is missing, although the schema's version says that it is
	// there.
	ErrIncomplete = errors.New("migrations: the schema is not complete")

	// ErrRowSecurity means that row level security may hide rows of the schema's tables from the role.
	ErrRowSecurity = errors.New("migrations: row level security hides rows from the role, and what it hides would be passed over")
)

// CheckRights returns nil if the current role has the rights of a worker in the schema that q sees, or that it names if it is a
// *db.Pool, and otherwise an error that wraps ErrRights, ErrIncomplete or ErrRowSecurity and names everything that has to be done. It
// takes no lock and changes nothing.
func CheckRights(ctx context.Context, q Querier) error {
	ctx, cancel := context.WithTimeout(ctx, rightsTimeout)
	defer cancel()
	rows, err := q.Query(ctx, statement("rights"), schemaOf(q))
	if err != nil {
		return fmt.Errorf("migrations: look at the rights of the role: %w", err)
	}
	var gone, grants, hidden []string
	var name string
	var do *string
	var hides bool
	_, err = pgx.ForEachRow(rows, []any{&name, &do, &hides}, func() error {
		switch {
		case do == nil:
			gone = append(gone, name)
		case hides:
			hidden = append(hidden, *do)
		default:
			grants = append(grants, *do)
		}
		return nil
	})
	switch {
	case err != nil:
		return fmt.Errorf("migrations: look at the rights of the role: %w", err)
	case len(gone) > 0:
		return fmt.Errorf("%w: there is no %s (put it back as `rouse migrate --print` has it)", ErrIncomplete, strings.Join(gone, ", "))
	case len(grants) > 0:
		return fmt.Errorf("%w (run as the owner of the schema: %s)", ErrRights, strings.Join(grants, "; "))
	case len(hidden) > 0:
		return fmt.Errorf("%w (run as the owner of the schema: %s; or give the role BYPASSRLS)", ErrRowSecurity, strings.Join(hidden, "; "))
	}
	return nil
}

// Lacking reports whether a statement failed because the role lacks a right, or the schema a part: only a person can
// mend it.
func Lacking(err error) bool {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return false
	}
	switch pgErr.Code {
	case "42501", "42P01", "42703", "42883": // insufficient_privilege, undefined_table, undefined_column, undefined_function
		return true
	}
	return false
}
