package eventstore

import (
	"context"
	_ "embed" // the statements
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

var (
	//go:embed sql/append_one.sql
	appendOneSQL string
	//go:embed sql/append_many.sql
	appendManySQL string
	//go:embed sql/conflict.sql
	conflictSQL string
)

// The savepoint around an append of several events. An outer savepoint of the same name is hidden meanwhile and comes
// back with the release, so the name may be any.
const (
	savepointSQL = "savepoint rouse_append"
	releaseSQL   = "release savepoint rouse_append"
	// Without parameters pgx sends this as one simple query, in every mode: one round trip, and nothing to prepare in a
	// transaction that takes no statement but a rollback.
	undoSQL = "rollback to savepoint rouse_append; release savepoint rouse_append"
)

// maxAttempts bounds the attempts of one Append. Each attempt that fails means that another writer has committed to the
// same stream, so the writers as a whole make progress; with 32 of them at one stream, the chance that one loses every
// time is (31/32)^1000, about 10^-14. The context is the bound in time.
const maxAttempts = 1000

var (
	// errRefused is the outcome of an attempt that a unique constraint stopped.
	errRefused = errors.New("refused by a unique constraint")
	// errBlocked is returned when the table refuses events although no visible row is in the way.
	errBlocked = errors.New("eventstore: the table refuses the events although their versions and ids are free: " +
		"check that the sequence of events.global_position is ahead of the table, and that no trigger drops rows")
	// errPartial is returned when the database took fewer events than were sent.
	errPartial = errors.New("eventstore: the database dropped some of the events: " +
		"roll back, and look for a trigger on the table events that drops rows")
)

// Appended is the result of one Append: the places of its events.
type Appended struct {
	// FirstVersion and LastVersion are the versions of the first and the last new event. Those between belong to the
	// events between, without holes. LastVersion is the argument of Exact in the next Append to the stream.
	FirstVersion, LastVersion int64
	// Positions holds the global position of each event, in the order given. They rise, but other appends may lie
	// between them. They are promised only once the transaction has committed.
	Positions []int64
	// IDs holds the id of each event, in the order given: the caller's or the new one.
	IDs []ID
	// Slot is the hash of the aggregate's id, 0 to 1023, which all of the events have. With the positions it says in which
	// partitions of a projection they are; rouse.WaitFor needs these two and nothing else.
	Slot int16
}

// LastPosition returns the global position of the last event: a reader that has come this far has seen them all.
func (a Appended) LastPosition() int64 {
	return a.Positions[len(a.Positions)-1]
}

// Append adds events to the end of a stream, in the caller's transaction, if the stream is at the expected version. All
// events are appended or none. They get the versions that follow, and become visible when the caller commits.
//
// One event costs one round trip and one statement. Several cost one round trip too, and one INSERT for all, in a
// savepoint: one more transaction id, and a session that makes more than 64 of them in one transaction slows down the
// snapshots of all others.
//
// These errors leave the transaction usable, with nothing appended:
//   - [ErrConflict], a *[ConflictError]: the stream is not at the expected version. With [Any], an append that meets a
//     concurrent one is repeated at the new end of the stream; ErrConflict comes only after a thousand attempts.
//   - [ErrDuplicateID]: one of the ids is in the log already, also where that is why the version is not as expected.
//   - [ErrNoEvents] and [ErrInvalid]: the database was not asked.
//
// After any other error the transaction must be rolled back; [ErrRetryTransaction] says that running it again can help.
//
// Append waits for other transactions that have appended the same versions to the stream and are still open; give ctx a
// deadline. Like the transaction itself it must not be used by two goroutines at once.
func Append(ctx context.Context, tx pgx.Tx, stream Stream, expected Expected, events ...NewEvent) (Appended, error) {
	events, err := withMetadata(ctx, events)
	if err != nil {
		return Appended{}, err
	}
	rows, err := rowsOf(stream, expected, events)
	if err != nil {
		return Appended{}, err
	}
	a := attempt{tx: tx, stream: stream, expected: expected, rows: rows, seen: -1}
	for _, e := range events {
		a.chosenIDs = a.chosenIDs || !e.ID.IsZero()
	}
	for range maxAttempts {
		before, positions, err := a.insert(ctx)
		switch {
		case errors.Is(err, errRefused):
			if err := a.resolve(ctx, err); err != nil {
				return Appended{}, err
			}
		case err != nil:
			return Appended{}, explain("append", err)
		case !expected.met(before):
			return Appended{}, a.mismatch(ctx, before)
		default:
			return a.result(before, positions)
		}
	}
	return Appended{}, &ConflictError{Stream: stream, Expected: expected, Actual: a.seen}
}

// attempt is the state of one Append.
type attempt struct {
	tx       pgx.Tx
	stream   Stream
	expected Expected
	rows     []row
	// chosenIDs means that the caller has given an event its id.
	chosenIDs bool
	// seen is the version found after the last refusal, -1 before the first.
	seen int64
	// slot is that of the stream, as the database has computed it for the events that it took.
	slot int16
}

// insert makes one attempt. It returns the version of the stream before it, and the positions of the new events: none
// if that version is not the expected one. An error that wraps errRefused has left the transaction usable.
func (a *attempt) insert(ctx context.Context) (before int64, positions []int64, err error) {
	if len(a.rows) == 1 {
		return a.insertOne(ctx)
	}
	return a.insertMany(ctx)
}

// insertOne inserts a single event, with one statement.
func (a *attempt) insertOne(ctx context.Context) (before int64, positions []int64, err error) {
	r := a.rows[0]
	var position *int64
	var slot *int16
	err = a.tx.QueryRow(ctx, appendOneSQL, a.stream.Type, a.stream.ID, a.expected.param(),
		r.id, r.eventType, r.version, r.payload, r.metadata).Scan(&before, &position, &slot)
	switch {
	case err != nil:
		return 0, nil, err
	case position != nil && slot != nil:
		a.slot = *slot
		return before, []int64{*position}, nil
	case a.expected.met(before):
		return before, nil, errRefused
	default:
		return before, nil, nil
	}
}

// insertMany inserts several events, with one INSERT in a savepoint, which it rolls back if a unique constraint refuses
// one.
func (a *attempt) insertMany(ctx context.Context) (before int64, positions []int64, err error) {
	var c columns
	for _, r := range a.rows {
		c.add(r)
	}
	batch := &pgx.Batch{}
	batch.Queue(savepointSQL)
	batch.Queue(appendManySQL, a.stream.Type, a.stream.ID, a.expected.param(),
		c.ids, c.eventTypes, c.versions, c.payloads, c.metadata)
	batch.Queue(releaseSQL)
	results := a.tx.SendBatch(ctx, batch)
	before, positions, err = a.readMany(results)
	if closeErr := results.Close(); err == nil {
		err = closeErr
	}
	if sqlState(err) != stateUniqueViolation {
		return before, positions, err
	}
	if _, undoErr := a.tx.Exec(ctx, undoSQL); undoErr != nil {
		return 0, nil, undoErr
	}
	return 0, nil, fmt.Errorf("%w: %w", errRefused, err)
}

// readMany reads the results of the three statements of insertMany.
func (a *attempt) readMany(results pgx.BatchResults) (before int64, positions []int64, err error) {
	if _, err = results.Exec(); err != nil {
		return 0, nil, err
	}
	rows, err := results.Query()
	if err != nil {
		return 0, nil, err
	}
	var position *int64
	var slot *int16
	_, err = pgx.ForEachRow(rows, []any{&before, &position, &slot}, func() error {
		if position != nil && slot != nil {
			a.slot = *slot
			positions = append(positions, *position)
		}
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	_, err = results.Exec()
	return before, positions, err
}

// columns has the rows by column, one array per parameter.
type columns struct {
	ids, eventTypes, payloads, metadata []string
	versions                            []int32
}

// add appends r to each array.
func (c *columns) add(r row) {
	c.ids = append(c.ids, r.id)
	c.eventTypes = append(c.eventTypes, r.eventType)
	c.versions = append(c.versions, r.version)
	c.payloads = append(c.payloads, r.payload)
	c.metadata = append(c.metadata, r.metadata)
}

// obstacle is the result of conflict.sql, by which a refused attempt finds its cause.
type obstacle struct {
	version     int64   // of the stream, as of now
	duplicateID *string // an id of this append that is in the log
	isolation   string
}

// look reads the obstacle of a refused attempt.
func (a *attempt) look(ctx context.Context) (obstacle, error) {
	ids := make([]string, len(a.rows))
	for i, r := range a.rows {
		ids[i] = r.id
	}
	var o obstacle
	err := a.tx.QueryRow(ctx, conflictSQL, a.stream.Type, a.stream.ID, ids).Scan(&o.version, &o.duplicateID, &o.isolation)
	if err != nil {
		return obstacle{}, explain("append: look what was in the way", err)
	}
	return o, nil
}

// mismatch returns the error for a stream that is not at the expected version. An append that is repeated, because the
// outcome of its commit is unknown, meets its own events: ids that the caller chose identify them, and then it returns
// ErrDuplicateID.
func (a *attempt) mismatch(ctx context.Context, actual int64) error {
	conflict := &ConflictError{Stream: a.stream, Expected: a.expected, Actual: actual}
	if !a.chosenIDs {
		return conflict
	}
	o, err := a.look(ctx)
	switch {
	case err != nil:
		return err
	case o.duplicateID != nil:
		return fmt.Errorf("%w: %s", ErrDuplicateID, *o.duplicateID)
	}
	return conflict
}

// resolve returns the error that a refused attempt means for the caller, or nil if another attempt can succeed.
func (a *attempt) resolve(ctx context.Context, refused error) error {
	o, err := a.look(ctx)
	switch {
	case err != nil:
		return err
	case o.duplicateID != nil:
		return fmt.Errorf("%w: %s", ErrDuplicateID, *o.duplicateID)
	case !a.expected.met(o.version):
		return &ConflictError{Stream: a.stream, Expected: a.expected, Actual: o.version}
	case o.isolation != "read committed" && o.isolation != "read uncommitted": // the second is the first in PostgreSQL
		// The other's commit is later than this transaction's snapshot, which no further statement will change.
		return fmt.Errorf("%w: %w", ErrRetryTransaction, refused)
	case o.version == a.seen:
		// Every faster writer moves the stream. It has not moved since the attempt before.
		return fmt.Errorf("%w: %w", errBlocked, refused)
	}
	a.seen = o.version
	return nil
}

// result returns the Appended of a successful attempt, or errPartial if the database did not take every event.
func (a *attempt) result(before int64, positions []int64) (Appended, error) {
	if len(positions) != len(a.rows) {
		return Appended{}, errPartial
	}
	out := Appended{
		FirstVersion: before + 1,
		LastVersion:  before + int64(len(positions)),
		Positions:    positions,
		IDs:          make([]ID, len(a.rows)),
		Slot:         a.slot,
	}
	for i, r := range a.rows {
		if err := out.IDs[i].parse(r.id); err != nil {
			return Appended{}, err
		}
	}
	return out, nil
}
