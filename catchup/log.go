package catchup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

var (
	// ErrUnguarded means that the append trigger is missing or not ENABLE ALWAYS, so that commits could be missed.
	ErrUnguarded = errors.New("catchup: the trigger rouse_append_before on events is missing or not enabled, and without it slow commits would be lost" +
		" (run: alter table events enable always trigger rouse_append_before)")

	// ErrSource means that the events table is not one that a worker may read from.
	ErrSource = errors.New("catchup: this database cannot be the source")

	// ErrSequence means that the sequence of events.global_position breaks the protocol or cannot be read.
	ErrSequence = errors.New("catchup: the sequence of events.global_position cannot be relied on")

	// ErrIncarnation means that the database has crashed or failed over since the token was read: what was remembered of it
	// may be wrong. Start over from the checkpoints.
	ErrIncarnation = errors.New("catchup: the database was restarted after a crash or failed over")

	// ErrLogBehind means that the log ends before a checkpoint: it was truncated, restored, or copied without its sequence.
	ErrLogBehind = errors.New("catchup: the log ends before a checkpoint (it was truncated or restored: put the events back, or reset the projection's checkpoints)")
)

// statementTimeout bounds every statement of this package but the reading of events, which ReadTimeout bounds.
const statementTimeout = 10 * time.Second

// Log identifies the log of one schema, by the identifiers that locks and channels are made of.
type Log struct {
	Events, Sequence, Database uint32 // oids
}

// Open looks the log up through the pool's search_path and refuses what a worker could not read without losing events.
func Open(ctx context.Context, pool *pgxpool.Pool) (Log, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	var (
		events, sequence, database, cache int64
		standby, subscriber               bool
		encoding, before                  string
	)
	err := pool.QueryRow(ctx, sqlOpen).Scan(&events, &sequence, &database, &standby, &encoding, &cache, &before, &subscriber)
	switch {
	case err != nil:
		return Log{}, fmt.Errorf("catchup: look at the log: %w", err)
	case standby:
		return Log{}, fmt.Errorf("%w: it is a standby (connect to the primary)", ErrSource)
	case subscriber:
		return Log{}, fmt.Errorf("%w: events is filled by a subscription, whose writes skip statement triggers (read at the publisher)", ErrSource)
	case encoding != "UTF8":
		return Log{}, fmt.Errorf("%w: its encoding is %s and slots need UTF8", ErrSource, encoding)
	case cache != 1:
		return Log{}, fmt.Errorf("%w: it caches %d values, and cached positions are written out of sight (run: alter table events alter global_position set cache 1)", ErrSequence, cache)
	case before != "A":
		return Log{}, ErrUnguarded
	}
	return Log{Events: uint32(events), Sequence: uint32(sequence), Database: uint32(database)}, nil
}

// Token names one incarnation of the database: the time between two crashes or failovers.
type Token string

// CurrentToken reads the token of this incarnation, and gives it one if it has none.
func CurrentToken(ctx context.Context, pool *pgxpool.Pool) (Token, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	const read = "select token::text from rouse_incarnation"
	var token Token
	err := pool.QueryRow(ctx, read).Scan(&token)
	if errors.Is(err, pgx.ErrNoRows) {
		if _, err = pool.Exec(ctx, sqlTokenInsert); err == nil {
			err = pool.QueryRow(ctx, read).Scan(&token)
		}
	}
	if err != nil {
		return "", fmt.Errorf("catchup: read the incarnation of the database: %w", err)
	}
	return token, nil
}

// LastVisible is the last position up to and including upTo at which there is an event, 0 if there is none.
func LastVisible(ctx context.Context, pool *pgxpool.Pool, upTo int64) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	var last int64
	if err := pool.QueryRow(ctx, sqlLastVisible, upTo).Scan(&last); err != nil {
		return 0, fmt.Errorf("catchup: look for the last event: %w", err)
	}
	return last, nil
}
