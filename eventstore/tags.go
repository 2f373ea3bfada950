package eventstore

import (
	"context"
	_ "embed" // the statements
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

var (
	//go:embed sql/tags_lock.sql
	tagsLockSQL string
	//go:embed sql/tags_check.sql
	tagsCheckSQL string
	//go:embed sql/tags_seen.sql
	tagsSeenSQL string
	//go:embed sql/tags_read.sql
	tagsReadSQL string
	//go:embed sql/tags_add.sql
	tagsAddSQL string
)

// MaxTagBytes is how long a tag may be. The index over tags holds rows of at most a third of a page.
const MaxTagBytes = 1024

var (
	// ErrGone is returned by [ReadTagged] if an event that may match has left the log, for an archive or because it was deleted: what
	// is left is no ground for a decision.
	ErrGone = errors.New("eventstore: events with these tags have left the log: put them back with 'rouse archive restore', " +
		"or delete the rows of event_tags whose events are not coming back")

	// ErrIsolation is returned by [AppendIf] in a transaction that is not READ COMMITTED: it does not see what others have
	// committed since it began, which the condition is about. Nothing was appended; the transaction is still usable.
	ErrIsolation = errors.New("eventstore: a condition cannot be tested in REPEATABLE READ or SERIALIZABLE: begin the transaction in READ COMMITTED")
)

// errBehind is returned for an event whose tag no condition would see.
var errBehind = errors.New("eventstore: the sequence event_tags_entry_seq is behind the table event_tags, so that decisions would not see the event: " +
	"roll back, and set it to the highest entry")

// Match selects events by their tags.
type Match struct {
	// Tags are those that an event must have, all of them. At least one: a condition holds the locks of its tags. The first should be
	// the rarest, because events are found by it.
	Tags []string
	// Types are the types of which it must have one. None: any.
	Types []string
}

// Tagged is an event to be appended with tags.
type Tagged struct {
	NewEvent
	// Tags say what the event is about, such as "course:42" and "student:7": whatever a decision may ask for. Each is 1 to MaxTagBytes bytes long.
	// An event may have none.
	Tags []string
}

// Condition is what a decision rests on: the events that match, and how much of them was there. [ReadTagged] and [NoEvents] make one,
// and [AppendIf] tests it. The zero Condition is none, and refused.
type Condition struct {
	matches []Match
	seen    map[string]entry // the highest of each tag that was visible; entries of one tag become visible in their order
}

// entry is a row that gives a tag to an event: its number, and the id of the event.
type entry struct {
	number int64
	id     string
}

// NoEvents is the condition that no event matches, whenever it came: for what must be the only one, such as a name that is taken. It
// reads nothing.
func NoEvents(matches ...Match) Condition {
	return Condition{matches: clone(matches)}
}

// clone returns matches that share no memory with the caller's, who may go on using them.
func clone(matches []Match) []Match {
	out := make([]Match, len(matches))
	for i, m := range matches {
		out[i] = Match{Tags: slices.Clone(m.Tags), Types: slices.Clone(m.Types)}
	}
	return out
}

// ConditionError is the error for an event that a condition excludes, or for one that its maker has seen and that has its tag no more. It
// matches [ErrConflict].
type ConditionError struct {
	// Tag is one of the condition's, which the event has, or had.
	Tag string
	// Position is the event's global position; 0 if it is not in the log any more, or what was seen is not there any more: it was erased,
	// rolled back, or lost in a failover or by a restore.
	Position int64
}

// Error returns a message that names the event and the remedy. It does not name the tag, which may hold the name of a person.
func (e *ConditionError) Error() string {
	if e.Position == 0 {
		return "eventstore: what the decision was made on is not all there any more: read the events again and decide again"
	}
	return fmt.Sprintf("eventstore: the event at position %d came after the decision was made: read the events again and decide again", e.Position)
}

// Is reports whether target is ErrConflict.
func (e *ConditionError) Is(target error) bool {
	return target == ErrConflict
}

// Batcher is a source of reads that sends several statements at once: a *pgxpool.Pool, a *pgx.Conn, or a pgx.Tx.
type Batcher interface {
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// ReadTagged returns the events that match at least one of matches, in the order of the log, and the [Condition] that no others
// have come, for [AppendIf]. It costs one round trip, in any isolation level, and may read from a standby: what is not there yet is not
// seen, and the condition fails.
//
// [ErrGone] is returned if an event that may match has left the log, and [ErrInvalid] for matches without a tag.
func ReadTagged(ctx context.Context, q Batcher, matches ...Match) ([]Event, Condition, error) {
	if err := validateMatches(matches); err != nil {
		return nil, Condition{}, err
	}
	condition := Condition{matches: clone(matches), seen: map[string]entry{}}
	batch := &pgx.Batch{}
	batch.Queue(tagsSeenSQL, condition.tags())
	batch.Queue(tagsReadSQL, condition.items())
	results := q.SendBatch(ctx, batch)
	events, err := readTagged(results, condition.seen)
	if closeErr := results.Close(); err == nil {
		err = closeErr
	}
	switch {
	case errors.Is(err, ErrGone):
		return nil, Condition{}, ErrGone
	case err != nil:
		return nil, Condition{}, explain("read by tags", err)
	}
	return events, condition, nil
}

// readTagged reads the results of the two statements of ReadTagged.
func readTagged(results pgx.BatchResults, seen map[string]entry) ([]Event, error) {
	rows, err := results.Query()
	if err != nil {
		return nil, err
	}
	var tag string
	var last entry
	if _, err := pgx.ForEachRow(rows, []any{&tag, &last.number, &last.id}, func() error { seen[tag] = last; return nil }); err != nil {
		return nil, err
	}
	rows, err = results.Query()
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (Event, error) {
		if raw := row.RawValues(); len(raw) == columnCount && raw[colPosition] == nil {
			return Event{}, ErrGone
		}
		return ScanEvent(row)
	})
}

// AppendIf adds events to the end of a stream, in the caller's transaction, if the condition holds: no event that matches has been committed
// that its maker has not seen, and what it has seen is there. From then until the transaction ends none can come. All events are appended or none.
//
// The transaction is READ COMMITTED. It waits for other transactions that have appended with one of the tags, or are asking for one that
// these events have, and are still open; so keep it short, and give ctx a deadline. What was read before it began is as good as what was
// read in it. Several calls in one transaction are possible; the second does not see the events of the first as seen, and two transactions
// that do that may wait for each other, which the server ends with [ErrRetryTransaction].
//
// These errors leave the transaction usable, with nothing appended:
//   - [ErrConflict], a *[ConditionError]: such an event has come, or is gone. Read again and decide again, best in a new transaction, since
//     this one holds the locks of the tags.
//   - [ErrIsolation], [ErrNoEvents], [ErrInvalid] and [ErrDuplicateID], as of [Append].
//
// After any other error the transaction must be rolled back; [ErrRetryTransaction] says that running it again can help.
func AppendIf(ctx context.Context, tx pgx.Tx, condition Condition, stream Stream, events ...Tagged) (Appended, error) {
	if err := validateMatches(condition.matches); err != nil {
		return Appended{}, err
	}
	t, err := tagsOf(events)
	if err != nil {
		return Appended{}, err
	}
	if _, err := rowsOf(stream, Any(), t.events); err != nil { // before anything is locked
		return Appended{}, err
	}
	if err := t.hold(ctx, tx, condition); err != nil {
		return Appended{}, err
	}
	return t.append(ctx, tx, stream, Any())
}

// AppendTagged is [Append] for events with tags: it asks for the version of the stream, and for no condition. It may be used in any
// isolation level.
func AppendTagged(ctx context.Context, tx pgx.Tx, stream Stream, expected Expected, events ...Tagged) (Appended, error) {
	t, err := tagsOf(events)
	if err != nil {
		return Appended{}, err
	}
	if _, err := rowsOf(stream, expected, t.events); err != nil {
		return Appended{}, err
	}
	tags, written := t.locks(Condition{})
	if _, err := tx.Exec(ctx, tagsLockSQL, tags, written); err != nil {
		return Appended{}, explain("lock tags", err)
	}
	return t.append(ctx, tx, stream, expected)
}

// tagged are events and their tags, each tag with the index of its event.
type tagged struct {
	events []NewEvent
	tags   []string
	of     []int
}

// tagsOf takes events and tags apart. It returns an error that wraps ErrInvalid for a tag that cannot be stored.
func tagsOf(events []Tagged) (tagged, error) {
	t := tagged{events: make([]NewEvent, len(events))}
	for i, e := range events {
		t.events[i] = e.NewEvent
		for _, tag := range slices.Compact(slices.Sorted(slices.Values(e.Tags))) {
			if err := validateTag(tag); err != nil {
				return tagged{}, fmt.Errorf("%w: event %d of %d: %w", ErrInvalid, i+1, len(events), err)
			}
			t.tags, t.of = append(t.tags, tag), append(t.of, i)
		}
	}
	return t, nil
}

// locks returns the tags to be locked, and for each whether an event gets it.
func (t tagged) locks(c Condition) (tags []string, written []bool) {
	tags = slices.Concat(t.tags, c.tags())
	written = make([]bool, len(tags))
	for i := range t.tags {
		written[i] = true
	}
	return tags, written
}

// hold takes the locks and tests the condition, in two statements and one round trip.
func (t tagged) hold(ctx context.Context, tx pgx.Tx, c Condition) error {
	tags, written := t.locks(c)
	batch := &pgx.Batch{}
	batch.Queue(tagsLockSQL, tags, written)
	batch.Queue(tagsCheckSQL, c.items())
	results := tx.SendBatch(ctx, batch)
	var isolation string
	var tag *string
	var position *int64
	_, err := results.Exec()
	if err == nil {
		err = results.QueryRow().Scan(&isolation, &tag, &position)
	}
	if closeErr := results.Close(); err == nil {
		err = closeErr
	}
	switch {
	case err != nil:
		return explain("test the condition", err)
	case isolation != "read committed" && isolation != "read uncommitted": // the second is the first in PostgreSQL
		return fmt.Errorf("%w: it is %s", ErrIsolation, isolation)
	case tag == nil:
		return nil
	case position == nil:
		return &ConditionError{Tag: *tag}
	}
	return &ConditionError{Tag: *tag, Position: *position}
}

// append appends the events, and gives them their tags.
func (t tagged) append(ctx context.Context, tx pgx.Tx, stream Stream, expected Expected) (Appended, error) {
	out, err := Append(ctx, tx, stream, expected, t.events...)
	if err != nil || len(t.tags) == 0 {
		return out, err
	}
	ids := make([]string, len(t.of))
	for i, of := range t.of {
		ids[i] = out.IDs[of].String()
	}
	var behind bool
	if err := tx.QueryRow(ctx, tagsAddSQL, t.tags, ids).Scan(&behind); err != nil {
		return Appended{}, explain("give tags to events", err)
	}
	if behind {
		return Appended{}, errBehind
	}
	return out, nil
}

// tags returns the tags of the condition, each once.
func (c Condition) tags() []string {
	var tags []string
	for _, m := range c.matches {
		tags = append(tags, m.Tags...)
	}
	slices.Sort(tags)
	return slices.Compact(tags)
}

// items returns the condition as the parameter of a statement: JSON, since the lists are of different lengths.
func (c Condition) items() string {
	type item struct {
		Tags  []string `json:"tags"`
		Seen  []int64  `json:"seen"`
		IDs   []string `json:"ids"`
		Types []string `json:"types"`
	}
	items := make([]item, len(c.matches))
	for i, m := range c.matches {
		items[i] = item{Tags: m.Tags, Seen: make([]int64, len(m.Tags)), IDs: make([]string, len(m.Tags)), Types: append([]string{}, m.Types...)}
		for j, tag := range m.Tags {
			items[i].Seen[j], items[i].IDs[j] = c.seen[tag].number, c.seen[tag].id
		}
	}
	text, err := json.Marshal(items)
	if err != nil {
		panic(err) // strings and numbers can always be encoded
	}
	return string(text)
}

// validateMatches returns an error that wraps ErrInvalid if a condition cannot be asked.
func validateMatches(matches []Match) error {
	if len(matches) == 0 {
		return fmt.Errorf("%w: the condition is empty: make it with ReadTagged or NoEvents, or use AppendTagged", ErrInvalid)
	}
	for _, m := range matches {
		if len(m.Tags) == 0 {
			return fmt.Errorf("%w: a match has no tag: give a tag to the events that it is about", ErrInvalid)
		}
		for _, tag := range m.Tags {
			if err := validateTag(tag); err != nil {
				return fmt.Errorf("%w: %w", ErrInvalid, err)
			}
		}
		for _, typ := range m.Types {
			if err := validateText("a type", typ); err != nil {
				return fmt.Errorf("%w: %w", ErrInvalid, err)
			}
		}
	}
	return nil
}

// validateTag returns an error if a tag cannot be stored.
func validateTag(tag string) error {
	if err := validateText("a tag", tag); err != nil {
		return err
	}
	if len(tag) > MaxTagBytes {
		return fmt.Errorf("a tag has %d bytes, at most %d fit", len(tag), MaxTagBytes)
	}
	return nil
}
