package projection

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// ended returns why a change has not come about: if time ran out, with the partitions that were waited for.
func (r *resize) ended(ctx context.Context, err error) error {
	if err == nil || !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return err
	}
	if errors.Is(err, ErrNoProjection) || errors.Is(err, ErrResizing) {
		return err
	}
	whyCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statementTimeout)
	defer cancel()
	rows, queryErr := r.pool.Query(whyCtx, sqlResizeWaits, r.name, r.to)
	if queryErr != nil {
		return errors.Join(err, queryErr)
	}
	waits, queryErr := pgx.CollectRows(rows, pgx.RowToStructByPos[wait])
	if queryErr != nil {
		return errors.Join(err, queryErr)
	}
	return fmt.Errorf("%w, and time is up: %s", ErrUneven, reasons(waits))
}

// wait is a partition that keeps others waiting.
type wait struct {
	Partition int
	At, Until int64
	Owner     string // label of the living owner
}

// reasons returns what to do about partitions that keep others waiting, by their owners, in whose order waits comes.
func reasons(waits []wait) string {
	if len(waits) == 0 {
		return "the locks of the checkpoints were not to be had (try again)"
	}
	var parts []string
	for i := 0; i < len(waits); {
		j, low := i, waits[i].At
		var numbers []string
		for ; j < len(waits) && waits[j].Owner == waits[i].Owner; j++ {
			low = min(low, waits[j].At)
			if len(numbers) < 8 {
				numbers = append(numbers, fmt.Sprint(waits[j].Partition))
			}
		}
		which := strings.Join(numbers, ", ")
		if more := j - i - len(numbers); more > 0 {
			which += fmt.Sprintf(" and %d more", more)
		}
		if owner := waits[i].Owner; owner == "" {
			parts = append(parts, fmt.Sprintf("nobody owns partitions %s (start the worker that is to have them)", which))
		} else {
			parts = append(parts, fmt.Sprintf("%s is at %d of %d in partitions %s (rouse status shows whether it is far behind or an event fails)",
				owner, low, waits[i].Until, which))
		}
		i = j
	}
	return strings.Join(parts, "; ")
}
