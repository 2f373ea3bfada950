package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rouse-es/rouse/internal/database"
)

// ownError is an error of the program's own code, which may have called others than the database.
type ownError struct{ err error }

// own marks an error of the program's own code; nil stays nil.
func own(err error) error {
	if err == nil {
		return nil
	}
	return &ownError{err}
}

// Error implements error.
func (e *ownError) Error() string { return e.err.Error() }

// Unwrap returns what the program's code has returned.
func (e *ownError) Unwrap() error { return e.err }

// explainOwn explains an error of the program's own code of which the rest of explain would say more than is known: that Rouse's
// schema lacks the table of a handler, or that PostgreSQL is away where a mail server is. is is false for all others.
func explainOwn(db *database.Database, err error) (code int, sentence string, is bool) {
	var mine *ownError
	var connect *pgconn.ConnectError
	var pgErr *pgconn.PgError
	switch {
	case !errors.As(err, &mine), errors.As(err, &connect):
		return 0, "", false
	case errors.As(err, &pgErr):
		switch pgErr.Code {
		case "42P01", "42703", "42883": // undefined_table, undefined_column, undefined_function
			return exitSchema, plain(err), true
		}
		return 0, "", false
	case elsewhere(err):
		return exitOther, plain(err), true
	}
	if _, gone := db.Unreachable(err); !gone || pgconn.Timeout(err) {
		return 0, "", false
	}
	return exitDatabase, fmt.Sprintf("%s (if that was the connection to PostgreSQL at %s, run the command again when it is back)", plain(err), db.Where()), true
}

// elsewhere reports whether an error, which is none of connecting to the database, is of a call to something else.
func elsewhere(err error) bool {
	var call *url.Error
	var netErr *net.OpError
	return errors.As(err, &call) || errors.As(err, &netErr) && netErr.Op == "dial" ||
		errors.Is(err, context.DeadlineExceeded) && !pgconn.Timeout(err)
}
