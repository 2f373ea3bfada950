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

// rightsTimeout bounds the look at the rights, which reads nothing but catalogs.
const rightsTimeout = 10 * time.Second

var (
	// ErrRights means that the role may not do something that a worker has to do; the message has the grants.
	ErrRights = errors.New("migrations: the role lacks rights that a worker needs")

	// ErrIncomplete means that a table or view of the schema is not there, although the schema's version says that it is.
	ErrIncomplete = errors.New("migrations: the schema is not complete")
)

// CheckRights tells whether the current role may do what a worker does in the schema that q sees: nil, or an error that wraps
// ErrRights or ErrIncomplete and names everything that is missing. It takes no lock and changes nothing.
func CheckRights(ctx context.Context, q Querier) error {
	ctx, cancel := context.WithTimeout(ctx, rightsTimeout)
	defer cancel()
	rows, err := q.Query(ctx, statement("rights"))
	if err != nil {
		return fmt.Errorf("migrations: look at the rights of the role: %w", err)
	}
	var gone, grants []string
	var name string
	var grant *string
	_, err = pgx.ForEachRow(rows, []any{&name, &grant}, func() error {
		if grant == nil {
			gone = append(gone, name)
		} else {
			grants = append(grants, *grant)
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
	}
	return nil
}

// Lacking tells whether a statement failed because the role lacks a right, or the schema a part: only a person can mend it.
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
