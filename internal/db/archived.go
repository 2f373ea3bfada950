package db

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// ErrArchived means that a projection would begin behind a position behind which the log is not whole: events were archived, and are no
// longer in it. Restore them, or begin behind them.
var ErrArchived = errors.New("events behind the position have left the log")

// stateArchived is the SQLSTATE by which the trigger rouse_keep_whole refuses a checkpoint.
const stateArchived = "ROARC"

// Archived returns err, wrapped with ErrArchived and in the words of the database if that refused a checkpoint behind which events are
// missing.
func Archived(err error) error {
	var pgErr *pgconn.PgError
	if err == nil || errors.Is(err, ErrArchived) || !errors.As(err, &pgErr) || pgErr.Code != stateArchived {
		return err
	}
	hint := strings.Replace(strings.TrimSuffix(pgErr.Hint, "."), "Put", "put", 1) // a sentence there, a part of one here
	return fmt.Errorf("%w: %s (%s)", ErrArchived, pgErr.Message, hint)
}
