package rousetest

import (
	"context"
	_ "embed" // the statements
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/apply"
	"github.com/rouse-es/rouse/internal/traits"
)

var (
	//go:embed sql/insert.sql
	insertSQL string
	//go:embed sql/sequence.sql
	sequenceSQL string
	//go:embed sql/ends.sql
	endsSQL string
)

// Scenario is a projection and events that it handles. Make it with Given. Nothing happens before Then or Fails, and each of these
// runs it anew, in transactions that are rolled back: the database is as it was.
//
// The events are in the log of the transaction, at positions behind the last one there, so a handler may read their stream and append
// to others. An event that has the version of an earlier one of its stream, as the first of a second Builder does, gets the next one.
// The handler gets those of the types that it handles. A rouse.BatchProjection is run in both forms, by Apply and by ApplyBatch,
// which must come to the same.
type Scenario struct {
	t           testing.TB
	db          *DB
	projection  rouse.Projection
	given, when []eventstore.Event
	checked     bool
}

// Given returns a Scenario in which projection has handled events. There may be none.
func Given(t testing.TB, db *DB, projection rouse.Projection, events ...eventstore.Event) *Scenario {
	t.Helper()
	s := &Scenario{t: t, db: db, projection: projection, given: events}
	t.Cleanup(func() {
		if !s.checked && !t.Failed() {
			t.Errorf("rousetest: a scenario of %s has neither Then nor Fails, so it checks nothing", projection.Name())
		}
	})
	return s
}

// When adds events that happen then.
func (s *Scenario) When(events ...eventstore.Event) *Scenario {
	s.when = append(slices.Clip(s.when), events...)
	return s
}

// Then checks what a query returns after all events: these rows, in this order. It may be called again, for another query.
func (s *Scenario) Then(sql string, rows ...Row) *Scenario {
	s.t.Helper()
	s.checked = true
	for _, form := range formsOf(s.projection) {
		err := s.db.rolledBack(func(ctx context.Context, tx pgx.Tx) error {
			if err := s.run(ctx, tx, form); err != nil {
				return err
			}
			got, err := query(ctx, tx, sql)
			if err != nil {
				return fmt.Errorf("the query of Then: %w", err)
			}
			if d := difference(rows, got); d != "" {
				s.t.Errorf("rousetest: %s, by %s:\n%s\n%s", s.projection.Name(), form.name, sql, d)
			}
			return nil
		})
		if err != nil {
			s.t.Fatalf("rousetest: %s, by %s: %v", s.projection.Name(), form.name, err)
		}
	}
	return s
}

// Fails checks that the handler returns an error at an event of When, and that it is target (errors.Is). nil: any error will do.
func (s *Scenario) Fails(target error) {
	s.t.Helper()
	s.checked = true
	err := s.db.rolledBack(func(ctx context.Context, tx pgx.Tx) error { return s.run(ctx, tx, formsOf(s.projection)[0]) })
	var failed *handlerError
	switch {
	case err == nil:
		s.t.Fatalf("rousetest: %s has handled all events, and was to fail", s.projection.Name())
	case !errors.As(err, &failed) || failed.given:
		s.t.Fatalf("rousetest: %s: %v", s.projection.Name(), err)
	case target != nil && !errors.Is(failed.err, target):
		s.t.Fatalf("rousetest: %s was to fail with %q: %v", s.projection.Name(), target, err)
	}
}

// run puts all events into the log of tx, and has them handled.
func (s *Scenario) run(ctx context.Context, tx pgx.Tx, form form) error {
	events, err := inLog(ctx, tx, slices.Concat(s.given, s.when))
	if err != nil {
		return err
	}
	wants := filterOf(s.projection)
	given, when := wants.of(events[:len(s.given)]), wants.of(events[len(s.given):])
	if err := form.handle(ctx, tx, given); err != nil {
		return asGiven(err)
	}
	if err := form.handle(ctx, tx, when); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "set constraints all immediate") // which a commit would check
	return err
}

// handlerError is what a handler has returned, or the database after it.
type handlerError struct {
	event eventstore.Event // the first of several
	more  int              // how many there were besides
	given bool
	err   error
}

func (e *handlerError) Error() string {
	which := "an event of When"
	if e.given {
		which = "an event of Given"
	}
	if e.more > 0 {
		which += fmt.Sprintf(" or of the %d after it", e.more)
	}
	return fmt.Sprintf("%s has failed: %s of %s, version %d: %v", which, e.event.Type, e.event.Stream(), e.event.AggregateVersion, e.err)
}

func (e *handlerError) Unwrap() error { return e.err }

func asGiven(err error) error {
	var failed *handlerError
	if errors.As(err, &failed) {
		failed.given = true
	}
	return err
}

// form is a way in which a projection handles events.
type form struct {
	name   string
	handle func(ctx context.Context, tx pgx.Tx, events []eventstore.Event) error
}

// formsOf returns Apply, and ApplyBatch where there is one.
func formsOf(p rouse.Projection) []form {
	forms := []form{{"Apply", func(ctx context.Context, tx pgx.Tx, events []eventstore.Event) error {
		for _, ev := range events {
			if err := p.Apply(ctx, tx, ev); err != nil {
				return &handlerError{event: ev, err: err}
			}
		}
		return nil
	}}}
	if batched, is := p.(rouse.BatchProjection); is {
		forms = append(forms, form{"ApplyBatch", func(ctx context.Context, tx pgx.Tx, events []eventstore.Event) error {
			if len(events) == 0 {
				return nil
			}
			var batch pgx.Batch
			err := batched.ApplyBatch(ctx, &batch, events)
			if err == nil && batch.Len() > 0 {
				apply.ReadUnreadResults(&batch)
				err = tx.SendBatch(ctx, &batch).Close()
			}
			if err != nil {
				return &handlerError{event: events[0], more: len(events) - 1, err: err}
			}
			return nil
		}})
	}
	return forms
}

// filter is what a projection handles. None: everything.
type filter struct{ events, aggregates []string }

func filterOf(p rouse.Projection) (f filter) {
	if typed, is := as[rouse.EventTyped](p); is {
		f.events = typed.EventTypes()
	}
	if typed, is := as[rouse.AggregateTyped](p); is {
		f.aggregates = typed.AggregateTypes()
	}
	return f
}

// as returns p as one that implements an optional interface, if it is to be taken for one.
func as[T any](p rouse.Projection) (value T, is bool) {
	var handler any = p
	if batched, is := p.(interface{ Queued() rouse.Queuer }); is {
		handler = batched.Queued()
	}
	if partial, is := handler.(traits.Partial); is && partial.Lacks(traits.Of[T]()) {
		return value, false
	}
	value, is = handler.(T)
	return value, is
}

// of returns those of events that a worker would hand to the projection.
func (f filter) of(events []eventstore.Event) (handled []eventstore.Event) {
	for _, ev := range events {
		if (len(f.events) == 0 || slices.Contains(f.events, ev.Type)) && (len(f.aggregates) == 0 || slices.Contains(f.aggregates, ev.AggregateType)) {
			handled = append(handled, ev)
		}
	}
	return handled
}

// inLog puts events into the log of tx, and returns them with the positions, versions and slots that they have there.
func inLog(ctx context.Context, tx pgx.Tx, events []eventstore.Event) ([]eventstore.Event, error) {
	if len(events) == 0 {
		return nil, nil
	}
	events, err := numbered(ctx, tx, events)
	if err != nil {
		return nil, err
	}
	var c struct {
		positions, versions            []int64
		ids, types, aggregates, kinds  []string
		payloadVersions                []int32
		payloads, metadata, createdAts []string
	}
	for _, e := range events {
		c.positions, c.versions = append(c.positions, e.GlobalPosition), append(c.versions, e.AggregateVersion)
		c.ids, c.types, c.aggregates = append(c.ids, e.ID.String()), append(c.types, e.AggregateType), append(c.aggregates, e.AggregateID)
		c.kinds, c.payloadVersions = append(c.kinds, e.Type), append(c.payloadVersions, int32(e.Version))
		c.payloads, c.metadata = append(c.payloads, string(e.Payload)), append(c.metadata, string(e.Metadata))
		c.createdAts = append(c.createdAts, e.CreatedAt.UTC().Format("2006-01-02T15:04:05.999999Z"))
	}
	rows, err := tx.Query(ctx, insertSQL, c.positions, c.ids, c.types, c.aggregates, c.versions, c.kinds, c.payloadVersions, c.payloads,
		c.metadata, c.createdAts)
	if err != nil {
		return nil, fmt.Errorf("put the events into the log: %w", err)
	}
	slots := map[int64]int16{}
	var position int64
	var slot int16
	if _, err := pgx.ForEachRow(rows, []any{&position, &slot}, func() error { slots[position] = slot; return nil }); err != nil {
		return nil, fmt.Errorf("put the events into the log: %w", err)
	}
	for i := range events {
		events[i].Slot = slots[events[i].GlobalPosition]
	}
	_, err = tx.Exec(ctx, sequenceSQL, events[len(events)-1].GlobalPosition)
	return events, err
}

// numbered returns events behind the last position of the log, and with versions that rise in each stream.
func numbered(ctx context.Context, tx pgx.Tx, events []eventstore.Event) ([]eventstore.Event, error) {
	events = slices.Clone(events)
	types, ids := make([]string, len(events)), make([]string, len(events))
	for i, e := range events {
		types[i], ids[i] = e.AggregateType, e.AggregateID
	}
	rows, err := tx.Query(ctx, endsSQL, types, ids)
	if err != nil {
		return nil, fmt.Errorf("look for the end of the log: %w", err)
	}
	var last, version int64
	versions := map[eventstore.Stream]int64{} // the last one of each
	i := 0
	if _, err := pgx.ForEachRow(rows, []any{&last, &version}, func() error {
		versions[events[i].Stream()] = version
		i++
		return nil
	}); err != nil {
		return nil, fmt.Errorf("look for the end of the log: %w", err)
	}
	for i := range events {
		e := &events[i]
		e.GlobalPosition = last + int64(i) + 1
		if before := versions[e.Stream()]; e.AggregateVersion <= before {
			e.AggregateVersion = before + 1
			e.ID = idOf(*e)
		}
		versions[e.Stream()] = e.AggregateVersion
	}
	return events, nil
}

// rolledBack runs f in a transaction of which nothing stays.
func (db *DB) rolledBack(f func(ctx context.Context, tx pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tx, err := db.Pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	if err != nil {
		return err
	}
	err = f(ctx, tx)
	if rollbackErr := tx.Rollback(context.WithoutCancel(ctx)); rollbackErr != nil && !errors.Is(rollbackErr, pgx.ErrTxClosed) && err == nil {
		return rollbackErr
	}
	return err
}
