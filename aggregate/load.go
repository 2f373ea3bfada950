package aggregate

import (
	"context"
	"fmt"
	"reflect"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/eventstore"
)

// Load returns the state of a stream, and the version of the last event that is in it, 0 for a stream without events. It is what Execute
// decides on, for callers that only want to know. Of the options it heeds Events, Snapshot, SnapshotEvery and Report.
func Load[S any](ctx context.Context, db DB, stream eventstore.Stream, fold func(S, any) S, options ...Option) (state S, version int64, err error) {
	s, err := settingsOf(options)
	if err == nil && (db == nil || fold == nil) {
		err = fmt.Errorf("%w: Load needs a database and a fold", ErrOption)
	}
	if err != nil {
		return state, 0, err
	}
	loaded, err := load(ctx, db, stream, fold, s)
	if err != nil {
		var none S
		return none, 0, err
	}
	return loaded.state, loaded.version, nil
}

// loaded is a state, and the version of the last event in it.
type loaded[S any] struct {
	state   S
	version int64
	last    eventstore.ID // the id of the last event that was read, if any was
	read    int           // how many events were read, behind the snapshot
	kept    kept
}

// inTransaction reports whether db is a connection with a transaction that was begun elsewhere. Another one cannot begin in it: PostgreSQL
// warns, and the commit is that of both.
func inTransaction(db DB) bool {
	if _, is := db.(pgx.Tx); is {
		return false
	}
	if held, is := db.(interface{ Conn() *pgx.Conn }); is { // a *pgxpool.Conn
		db = held.Conn()
	}
	conn, is := db.(*pgx.Conn)
	return is && conn.PgConn().TxStatus() != 'I'
}

// load reads a stream and folds it. It never returns a state of half a history.
func load[S any](ctx context.Context, db DB, stream eventstore.Stream, fold func(S, any) S, s *settings) (*loaded[S], error) {
	l := &loaded[S]{}
	if inTransaction(db) {
		return nil, fmt.Errorf("%w: the connection is in a transaction, which would be committed with the command: give the pgx.Tx of it", ErrOption)
	}
	if s.snapshots != nil {
		if err := checkState(reflect.TypeFor[S]()); err != nil {
			return nil, err
		}
		restore(ctx, db, stream, l, s)
	}
	for page, err := range eventstore.Pages(ctx, db, stream, eventstore.ReadOptions{FromVersion: l.version + 1}) {
		if err != nil {
			return nil, err
		}
		for i := range page {
			ev := &page[i]
			if ev.AggregateVersion != l.version+1 {
				return nil, &MissingError{Stream: stream, From: l.version + 1, To: ev.AggregateVersion - 1}
			}
			value, err := s.registry.Decode(*ev)
			if err != nil {
				return nil, fmt.Errorf("aggregate: version %d of %s: %w", ev.AggregateVersion, stream, err)
			}
			l.state, l.version, l.last = fold(l.state, value), ev.AggregateVersion, ev.ID
			l.read++
		}
	}
	if s.snapshots != nil {
		keep(ctx, db, stream, l, s)
	}
	return l, nil
}
