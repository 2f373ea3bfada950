package catchup

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/internal/db"
)

var (
	// ErrUnguarded means that the append trigger is missing, not ENABLE ALWAYS, or made for another sequence, so that commits could
	// be missed.
	ErrUnguarded = errors.New("catchup: the trigger rouse_append_before on events is missing, not enabled, or made for another sequence, and without it" +
		" slow commits would be lost (run: alter table events enable always trigger rouse_append_before; rouse doctor says more)")

	// ErrSource means that the events table is not one that a worker may read from.
	ErrSource = errors.New("catchup: this database cannot be the source")

	// ErrSequence means that the sequence of events.global_position breaks the protocol or cannot be read.
	ErrSequence = errors.New("catchup: the sequence of events.global_position cannot be relied on")

	// ErrHidden means that row level security hides rows of events from the role, so that events would be passed over.
	ErrHidden = errors.New("catchup: row level security hides rows of events from this role, and what is hidden would be passed over" +
		" (run as the owner: alter table events disable row level security; or give the worker's role BYPASSRLS)")

	// ErrChanged means that the sequence of events.global_position is not the one that it was: it was altered, or the log was
	// truncated and begun anew. Start over from the checkpoints.
	ErrChanged = errors.New("catchup: the sequence of events.global_position was altered, or the log was begun anew")

	// ErrLogReplaced means that the log is not the one that a checkpoint was made in: another event stands at its position.
	ErrLogReplaced = errors.New("catchup: the log is another one than the checkpoint was made in (it was truncated and filled anew, or restored:" +
		" put the events back, or reset the projection)")

	// ErrIncarnation means that the database has crashed or failed over since the token was read: knowledge of its
	// earlier state may be wrong. Start over from the checkpoints.
	ErrIncarnation = errors.New("catchup: the database was restarted after a crash or failed over")

	// ErrLogBehind means that the log ends before a checkpoint: it was truncated, restored, or copied without its sequence.
	ErrLogBehind = errors.New("catchup: the log ends before a checkpoint (it was truncated or restored: put the events back, or reset the projection's checkpoints)")
)

// statementTimeout bounds every statement of this package but the reading of events, which ReadTimeout bounds.
const statementTimeout = db.Timeout

// Log identifies the log of one schema, by the identifiers that locks and channels are made of, and by what tells it from
// another log in its place.
type Log struct {
	Schema                     string
	Events, Sequence, Database uint32 // oids

	// Filenode is the file of the sequence. TRUNCATE .. RESTART IDENTITY and every ALTER SEQUENCE give it a new one, VACUUM FULL
	// and CLUSTER do not.
	Filenode uint32
}

// Open looks the log up: in the schema of d, or through its search_path if d is a plain pool. It returns an error that wraps
// ErrSource, ErrSequence or ErrUnguarded for a log that a worker could not read without losing events.
func Open(ctx context.Context, d db.DB) (Log, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	table := "events"
	if schema := db.SchemaOf(d); schema != "" {
		table = pgx.Identifier{schema, table}.Sanitize()
	}
	var (
		log                Log
		sequence, filenode *uint32
		cache, increment   int64
		subscriber, hidden bool
		encoding, before   string
	)
	into := []any{&log.Events, &sequence, &log.Database, &log.Schema, &filenode, &encoding, &cache, &increment, &before, &subscriber, &hidden}
	err := db.QueryRow(ctx, d, into, sqlOpen.In(""), table)
	switch {
	case errors.Is(err, db.ErrStandby):
		return Log{}, fmt.Errorf("%w: %w", ErrSource, err)
	case err != nil:
		return Log{}, fmt.Errorf("catchup: look at the log: %w", err)
	case subscriber:
		return Log{}, fmt.Errorf("%w: events is filled by a subscription, whose writes skip statement triggers (read at the publisher)", ErrSource)
	case encoding != "UTF8":
		return Log{}, fmt.Errorf("%w: its encoding is %s and slots need UTF8", ErrSource, encoding)
	case hidden:
		return Log{}, ErrHidden
	case sequence == nil:
		return Log{}, fmt.Errorf("%w: the first column of events is not global_position with an identity sequence (put it back as `rouse migrate --print` has it)", ErrSequence)
	case before != "A":
		return Log{}, ErrUnguarded
	}
	log.Sequence = *sequence
	if filenode != nil {
		log.Filenode = *filenode
	}
	return log, checkSequence(cache, increment)
}

// checkSequence returns nil for a sequence that gives out one position after the other.
func checkSequence(cache, increment int64) error {
	switch {
	case cache != 1:
		return fmt.Errorf("%w: it caches %d values, and cached positions are written out of sight (run: alter table events alter global_position set cache 1)", ErrSequence, cache)
	case increment != 1:
		return fmt.Errorf("%w: its increment is %d, and positions have to rise by one (run: alter table events alter global_position set increment 1)", ErrSequence, increment)
	}
	return nil
}

// Token names one incarnation of the database: the time between two crashes or failovers.
type Token string

// CurrentToken returns the token of this incarnation, and creates it if there is none.
func CurrentToken(ctx context.Context, d db.DB) (Token, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	var token Token
	err := db.QueryRow(ctx, d, []any{&token}, sqlToken.For(d))
	if errors.Is(err, pgx.ErrNoRows) {
		if err = db.Exec(ctx, d, sqlTokenInsert.For(d)); err == nil {
			err = db.QueryRow(ctx, d, []any{&token}, sqlToken.For(d))
		}
	}
	if err != nil {
		return "", fmt.Errorf("catchup: read the incarnation of the database: %w", err)
	}
	return token, nil
}

// Mark is a position at which there was an event, and which event that was.
type Mark struct {
	Position int64
	Event    string // its id; "": not known, or there is none
}

// LastVisible returns the last position up to and including upTo at which there is an event, and the event; the zero Mark if
// there is none.
func LastVisible(ctx context.Context, d db.DB, upTo int64) (Mark, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	var last Mark
	err := db.QueryRow(ctx, d, []any{&last.Position, &last.Event}, sqlLastVisible.For(d), upTo)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return Mark{}, fmt.Errorf("catchup: look for the last event: %w", err)
	}
	return last, nil
}

// Horizon returns the highest settled position of log: up to there every event is visible, or will never exist.
func Horizon(ctx context.Context, d db.DB, log Log) (int64, error) {
	token, err := CurrentToken(ctx, d)
	if err != nil {
		return 0, err
	}
	b, err := NewReader(d, log, token, SlotSet{}, 0).Next(ctx, 1)
	return b.Settled, err
}

// CheckMarks returns an error that wraps ErrLogReplaced if another event stands at the position of one of marks. Where none
// stands there any more, nothing can be said. It returns ErrIncarnation where the database is in another one than token's.
func CheckMarks(ctx context.Context, d db.DB, token Token, marks []Mark) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	positions, events := make([]int64, len(marks)), make([]string, len(marks))
	for i, m := range marks {
		positions[i], events[i] = m.Position, m.Event
	}
	var now, was, is *string
	var position *int64
	err := db.QueryRow(ctx, d, []any{&now, &position, &was, &is}, sqlCheckMarks.For(d), positions, events)
	switch {
	case err != nil:
		return fmt.Errorf("catchup: compare the checkpoints with the log: %w", err)
	case now == nil || Token(*now) != token:
		return ErrIncarnation
	case position == nil:
		return nil
	}
	return fmt.Errorf("%w: at position %d stands event %s, and %s was handled", ErrLogReplaced, *position, *is, *was)
}

// CheckFloor returns an error that wraps ErrLogBehind if log ends before position floor, a checkpoint that was read before. The
// head that it compares is read for that: one from before the checkpoint was written may be below it.
func CheckFloor(ctx context.Context, d db.DB, log Log, token Token, floor int64) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	reader := NewReader(d, log, token, SlotSet{}, floor)
	head, err := reader.scanHead(d.QueryRow(ctx, sqlPeek.In(log.Schema), int64(log.Sequence)))
	if err != nil {
		return err
	}
	if head == nil {
		last, err := LastVisible(ctx, d, math.MaxInt64)
		if err != nil {
			return err
		}
		if last.Position > 0 {
			return errNoHead
		}
		head = &last.Position
	}
	if *head < floor {
		return fmt.Errorf("%w: its head is %d and a checkpoint %d", ErrLogBehind, *head, floor)
	}
	return nil
}
