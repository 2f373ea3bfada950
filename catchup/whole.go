package catchup

import (
	"context"
	"fmt"

	"github.com/rouse-es/rouse/internal/db"
)

// ErrArchived means that the log is not whole behind a position: events were archived and are no longer in it, so that a projection
// that begins there would be built of half a history. Restore them with `rouse archive restore`, or begin behind them.
var ErrArchived = db.ErrArchived

// CheckWhole returns nil if the log has every event behind position from, and else an error that wraps ErrArchived and says up to where
// events are missing, where they were archived, and what to do. It locks nothing: it is for an answer before anything is done. What is done
// then is judged by the database, in the transaction that makes a checkpoint or sets one back.
func CheckWhole(ctx context.Context, d db.DB, from int64) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	var whole int64
	var places *string
	if err := db.QueryRow(ctx, d, []any{&whole, &places}, sqlWhole.For(d), from); err != nil {
		return fmt.Errorf("catchup: look whether the log is whole: %w", err)
	}
	if from >= whole {
		return nil
	}
	if places == nil {
		places = new(string)
		*places = "no place that is known"
	}
	return fmt.Errorf("%w: the log lacks events up to position %d, and behind %d are some of them: they were archived in %s (put them back with rouse archive restore,"+
		" or begin behind position %d)", ErrArchived, whole, from, *places, whole)
}
