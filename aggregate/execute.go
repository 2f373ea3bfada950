package aggregate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/eventstore"
)

// DB is where a command is carried out: a *pgxpool.Pool, a *pgx.Conn that is in no transaction, or a pgx.Tx.
type DB interface {
	Begin(ctx context.Context) (pgx.Tx, error)
	eventstore.Querier
}

// Execute carries out a command: it reads the stream, folds its events into a state, has decide say what follows from it, and appends that if
// the stream is still at the version that was read. What decide returns are values of registered types (package events), or values of
// eventstore.NewEvent. If it returns none, nothing is appended, and the result is the zero Appended.
//
// The errors of decide are returned as they are, and nothing is appended. Where another writer was faster, the command is tried again
// from the beginning after a short pause of random length, up to DefaultTries times (Tries); after that the error matches
// eventstore.ErrConflict or eventstore.ErrRetryTransaction. So decide may be called several times, each time with a state of its own.
//
// An event whose type is not registered, or that cannot be read, is an error (events.ErrUnknown and others), and so is a stream whose first
// events have left the log (ErrMissing). If the connection is lost while the transaction commits, it is not known whether it has, and
// the command is not tried again by itself: give an event of it an id by eventstore.NewEvent or events.WithID, and a repetition ends in
// eventstore.ErrDuplicateID.
//
// The transaction begins behind the decision, and has the append and what In says; a lock is held that long, and not while events are
// read. With a pgx.Tx all of it is a part of the caller's transaction: after an error that one is as it was before, and may go on,
// except after eventstore.ErrRetryTransaction, which is not tried again there: roll back, and run all of it again.
//
// Execute may be called by many goroutines at once where db is a pool.
func Execute[S any](ctx context.Context, db DB, stream eventstore.Stream, fold func(S, any) S, decide func(S) ([]any, error), options ...Option) (eventstore.Appended, error) {
	s, err := settingsOf(options)
	if err == nil && (db == nil || fold == nil || decide == nil) {
		err = fmt.Errorf("%w: Execute needs a database, a fold and a decision", ErrOption)
	}
	if err != nil {
		return eventstore.Appended{}, err
	}
	for _, entry := range s.metadata {
		ctx = eventstore.WithMetadata(ctx, entry[0], entry[1])
	}
	_, within := db.(pgx.Tx)
	for try := 1; ; try++ {
		l, err := load(ctx, db, stream, fold, s)
		if err != nil {
			return eventstore.Appended{}, err
		}
		decided, err := decide(l.state)
		if err != nil || len(decided) == 0 {
			return eventstore.Appended{}, err
		}
		appended, again, err := record(ctx, db, stream, l.version, decided, s)
		switch {
		case err == nil:
			return appended, nil
		case !again || within && !isConflict(err):
			return eventstore.Appended{}, err
		case try == s.tries:
			return eventstore.Appended{}, fmt.Errorf("aggregate: other writers were faster %d times: try again later, or raise aggregate.Tries: %w", try, err)
		}
		if ended := pause(ctx, try); ended != nil {
			return eventstore.Appended{}, fmt.Errorf("aggregate: %w after %d tries: %w", ended, try, err)
		}
	}
}

// record appends what was decided, in a transaction of its own, or in a savepoint of the caller's. again says that the whole command may be
// tried again after the error.
func record(ctx context.Context, db DB, stream eventstore.Stream, version int64, decided []any, s *settings) (appended eventstore.Appended, again bool, err error) {
	events, err := s.registry.Encode(decided...)
	if err != nil {
		return eventstore.Appended{}, false, fmt.Errorf("aggregate: what was decided for %s: %w", stream, err)
	}
	err = pgx.BeginFunc(ctx, db, func(tx pgx.Tx) (err error) {
		if appended, err = eventstore.Append(ctx, tx, stream, eventstore.Exact(version), events...); err != nil {
			return err
		}
		for _, f := range s.in {
			if err := f(ctx, tx, appended); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		again, err = raced(err)
		return eventstore.Appended{}, again, err
	}
	return appended, false, nil
}

// The pause before a try is of random length, up to firstPause before the second one and twice as much before each further one, up to lastPause.
// Ten tries take 0.4 s at most, besides their work.
const (
	firstPause = 2 * time.Millisecond
	lastPause  = 100 * time.Millisecond
)

// pause waits before the next try, so that those who lost do not meet again at once.
func pause(ctx context.Context, try int) error {
	longest := min(firstPause<<min(try-1, 10), lastPause)
	timer := time.NewTimer(rand.N(longest))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
