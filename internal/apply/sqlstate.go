package apply

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
)

// sqlState returns the SQLSTATE of err, "" if the server did not report it.
func sqlState(err error) string {
	if err == nil {
		return ""
	}
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return ""
	}
	return pgErr.Code
}

// isDivision reports whether a statement divided by zero, by which the worker's own statements raise where a row that
// they need is missing.
func isDivision(err error) bool { return sqlState(err) == "22012" }

// IsReadOnly reports whether a statement failed because its session may only read.
func IsReadOnly(err error) bool { return sqlState(err) == "25006" }
