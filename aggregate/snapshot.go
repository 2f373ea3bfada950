package aggregate

import (
	"context"
	_ "embed" // the statements
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/eventstore"
)

var (
	//go:embed sql/read_snapshot.sql
	sqlReadSnapshot string
	//go:embed sql/save_snapshot.sql
	sqlSaveSnapshot string
	//go:embed sql/limits.sql
	sqlLimits string
)

// A snapshot must not hold a command up: it waits that long for an erasure that is under way or another command that writes the same one, and
// its statement ends after that time.
const (
	snapshotWait = "100ms"
	snapshotTime = "2s"
)

var (
	// errUnlike is reported for a state that is not what it was when it comes back.
	errUnlike = errors.New("it does not come back from JSON as it was: compare nil with empty maps and slices, and what MarshalJSON leaves out")

	// errNoFit is reported for a snapshot whose last event is another one in the log, or is not there yet.
	errNoFit = errors.New("it does not belong to the events of the log")
)

// snapshots is what Snapshot says.
type snapshots struct {
	name    string
	version int
	every   int
}

// kept is what was found of a snapshot, for the one that takes its place.
type kept struct {
	known   bool    // whether the table could be read
	erased  *string // what is noted of erasures of the aggregate
	useless bool    // there is one, and it is of no use
}

// restore reads the snapshot of a stream into l. What keeps it from being read is reported, and then l begins with nothing.
func restore[S any](ctx context.Context, db DB, stream eventstore.Stream, l *loaded[S], s *settings) {
	var is, fits bool
	var version int64
	var state string
	var found kept
	read := func(q eventstore.Querier) error {
		rows, err := q.Query(ctx, sqlReadSnapshot, stream.Type, stream.ID, s.snapshots.name, s.snapshots.version)
		if err != nil {
			return err
		}
		_, err = pgx.ForEachRow(rows, []any{&found.erased, &is, &fits, &version, &state}, func() error { return nil })
		return err
	}
	var err error
	if within, is := db.(pgx.Tx); is {
		err = pgx.BeginFunc(ctx, within, func(tx pgx.Tx) error { return read(tx) }) // a savepoint: the caller's transaction goes on
	} else {
		err = read(db)
	}
	if err != nil {
		s.failed(stream, "read", err)
		return
	}
	found.known = true
	switch {
	case !is:
	case !fits:
		found.useless = true
		s.failed(stream, "use", errNoFit)
	default:
		var restored S
		if err := json.Unmarshal([]byte(state), &restored); err != nil {
			found.useless = true
			s.failed(stream, "use", fmt.Errorf("it is no %T: %w", restored, faultless(err)))
			break
		}
		l.state, l.version = restored, version
	}
	l.kept = found
}

// faultless returns err without what it quotes of the state.
func faultless(err error) error {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		return fmt.Errorf("%s cannot be read as %s", kind.Field, kind.Type)
	}
	return errors.New("its JSON cannot be read")
}

// keep writes a snapshot of l, if enough events were read behind the last one. A failure is reported, and changes nothing. Within the caller's
// transaction none is written: it could roll back, and hold the row until then.
func keep[S any](ctx context.Context, db DB, stream eventstore.Stream, l *loaded[S], s *settings) {
	root, is := db.(interface {
		BeginTx(ctx context.Context, options pgx.TxOptions) (pgx.Tx, error)
	})
	if !is || !l.kept.known || s.snapshots.every < 0 || l.read < s.snapshots.every {
		return
	}
	state, err := json.Marshal(l.state)
	if err == nil {
		var back S
		if err = json.Unmarshal(state, &back); err == nil && !reflect.DeepEqual(back, l.state) {
			err = errUnlike
		}
	}
	if err != nil {
		s.failed(stream, "keep", err)
		return
	}
	err = pgx.BeginTxFunc(ctx, root, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, sqlLimits, snapshotWait, snapshotTime); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, sqlSaveSnapshot, stream.Type, stream.ID, s.snapshots.name, s.snapshots.version,
			l.version, l.last.String(), string(state), l.kept.erased, l.kept.useless)
		return err
	})
	if err != nil {
		s.failed(stream, "keep", err)
	}
}

// failed reports that a snapshot is not there, or not used.
func (s *settings) failed(stream eventstore.Stream, what string, err error) {
	if s.report != nil {
		s.report(fmt.Errorf("aggregate: %s the snapshot %s of %s: %w", what, s.snapshots.name, stream, err))
	}
}
