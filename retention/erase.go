package retention

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/eventstore"
)

// ErrPayload means that what is to take the place of payloads is no JSON.
var ErrPayload = errors.New("retention: what is to take the place of the payloads is no JSON")

// EraseOptions say what becomes of the events of an aggregate.
type EraseOptions struct {
	// Payload takes the place of every payload; "": {}. Metadata becomes {} in any case.
	Payload string

	// Delete deletes the events instead, but for the last of the stream, whose payload becomes {}: without it its version would be given out
	// again, and without the last of the log the lag would be less than nothing.
	Delete bool

	// Dir holds archives that are written anew without what is erased. "": archives are only named.
	Dir string
}

// Erased is what Erase has done.
type Erased struct {
	// Replaced is the number of events in the log whose payload and metadata are gone, and Deleted of those that are gone as a whole.
	Replaced int64 `json:"replaced"`
	Deleted  int64 `json:"deleted"`

	// Parked is the number of parked events of the aggregate, whose errors are forgotten. Those whose event is gone leave their queue.
	Parked int64 `json:"parked"`

	// Snapshots is the number of snapshots of the aggregate that were deleted (aggregate.Snapshot).
	Snapshots int64 `json:"snapshots"`

	// Tagged is the number of events whose tags are gone, with those in archives that were written anew.
	Tagged int64 `json:"tagged"`

	// Handled are the projections that have handled an event of the aggregate, or may have: what their read models hold is theirs to erase.
	Handled []string `json:"handled"`

	// Archives are those that may still hold events of the aggregate as they were; one in 120 that is named does not. Rewritten are those that
	// were written anew.
	Archives  []Archive `json:"archives"`
	Rewritten []Archive `json:"rewritten"`
}

// Erase makes the log forget what is in the events of an aggregate: in the log, in their tags, in the texts of errors, in snapshots, and, with
// EraseOptions.Dir, in archives. A later Restore does not bring it back. Decisions over tags do not see the events any more. Tags of events that have
// left the log go when their archive is written anew. It does not touch read models, backups, write-ahead logs, or the pages of the table before VACUUM has
// been there. It may be called again, for events that came later.
func Erase(ctx context.Context, pool *pgxpool.Pool, stream eventstore.Stream, opts EraseOptions) (Erased, error) {
	out := Erased{Handled: []string{}, Archives: []Archive{}, Rewritten: []Archive{}}
	if opts.Payload == "" {
		opts.Payload = nothing
	}
	if !json.Valid([]byte(opts.Payload)) {
		return out, ErrPayload
	}
	hash := streamHash(stream.Type, stream.ID)
	may := func() (may []Archive, err error) {
		var f filter
		err = eachArchive(ctx, pool, sqlFilters, &f, func(a Archive) {
			if f.may(hash) {
				may = append(may, a)
			}
		})
		return may, err
	}
	before, err := may()
	if err != nil {
		return out, err
	}
	err = locked(ctx, pool, statementTimeout, func(ctx context.Context, tx pgx.Tx) error {
		return eraseIn(ctx, tx, stream, opts, hash[:], len(before) > 0, &out)
	})
	if err != nil {
		return out, err
	}
	all, err := may() // again: what was archived meanwhile was before the lock, and all that is archived from now on is erased
	if err != nil {
		return out, err
	}
	for _, a := range all {
		if opts.Dir == "" {
			out.Archives = append(out.Archives, a)
			continue
		}
		done, tagged, err := rewrite(ctx, pool, a, opts.Dir)
		out.Tagged += tagged
		switch {
		case err != nil:
			return out, fmt.Errorf("retention: the log has forgotten %s, but %s has not: %w", stream, a.name(), err)
		case done == nil:
			out.Archives = append(out.Archives, a)
		default:
			out.Rewritten = append(out.Rewritten, *done)
		}
	}
	return out, nil
}

// eraseIn erases in the log, in the texts of errors and in snapshots, and notes it for restores.
func eraseIn(ctx context.Context, tx pgx.Tx, stream eventstore.Stream, opts EraseOptions, hash []byte, archived bool, out *Erased) error {
	var events, last, upTo int64
	if err := tx.QueryRow(ctx, sqlEraseLook, stream.Type, stream.ID).Scan(&events, &last, &upTo, &out.Handled); err != nil {
		return fmt.Errorf("retention: look for events of %s: %w", stream, err)
	}
	var err error
	if out.Snapshots, err = deleteSnapshots(ctx, tx, sqlEraseSnapshots, stream.Type, stream.ID); err != nil {
		return err
	}
	if events == 0 && !archived && out.Snapshots == 0 {
		return fmt.Errorf("%w: %s", ErrNoStream, stream)
	}
	payload := &opts.Payload
	if opts.Delete {
		payload = nil
	}
	// The texts go first, by the positions of events that may be deleted behind that.
	if err := tx.QueryRow(ctx, sqlEraseTexts, stream.Type, stream.ID, opts.Delete).Scan(&out.Parked); err != nil {
		return fmt.Errorf("retention: erase the errors of %s: %w", stream, err)
	}
	if err := tx.QueryRow(ctx, sqlEraseTags, stream.Type, stream.ID, []string{}).Scan(&out.Tagged); err != nil {
		return fmt.Errorf("retention: erase the tags of %s: %w", stream, err)
	}
	if err := tx.QueryRow(ctx, sqlErase, stream.Type, stream.ID, payload, last).Scan(&out.Deleted, &out.Replaced); err != nil {
		return fmt.Errorf("retention: erase %s: %w", stream, err)
	}
	if _, err := tx.Exec(ctx, sqlErasure, hash, upTo, payload, last); err != nil {
		return fmt.Errorf("retention: note that %s is erased: %w", stream, err)
	}
	return nil
}
