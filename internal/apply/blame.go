package apply

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// blame is whose doing a failure is, which decides what follows from it. Every error of a try is judged once, by
// blameOf.
type blame int

// Whose doing a failure is.
const (
	ofEvent   blame = iota // the event's or its handler's: the try counts
	ofOthers               // as far as one knows, of somebody who was in the way: tried again, and counted when that has lasted (patience)
	ofService              // what the handler depends on is away: the breaker decides, and nothing counts
	ofTime                 // nobody's: the handler wants the event later (NotBefore), and nothing counts
	ofWorker               // the worker's, the database's or another owner's: returned, and nothing counts
)

// judged is an error whose blame is known, because the place that it comes from knows whose statement failed.
type judged interface {
	error
	whose() blame
}

// blameOf returns whose doing err is, by the outermost judgement in it; err is not nil. What was not judged is ofEvent. It is
// ofEvent too for an error that follows from the end of workCtx, which callers test first.
func blameOf(err error) blame {
	var known judged
	if errors.As(err, &known) {
		return known.whose()
	}
	return told{err}.whose()
}

// isJudged reports whether it is known whose doing err is.
func isJudged(err error) bool {
	var known judged
	return errors.As(err, &known)
}

// told is what a handler has returned. Whatever is in it, such as the error of another database, says nothing about the worker's
// own transaction. But the handler may say that the event is not at fault.
type told struct{ error }

func (e told) Unwrap() error { return e.error }

func (e told) whose() blame {
	if isUnavailable(e.error) {
		return ofService
	}
	if _, later := NotBeforeOf(e.error); later {
		return ofTime
	}
	return ofEvent
}

// outage is the error of a statement of the worker's own, or of a session that was lost with others: no try counts, and
// everything since the checkpoints is done again.
type outage struct{ error }

func (e outage) Unwrap() error { return e.error }
func (outage) whose() blame    { return ofWorker }

// conflict is the error of a handler's statement, or of the commit, that another transaction may be the cause of.
type conflict struct{ error }

func (e conflict) Unwrap() error { return e.error }
func (conflict) whose() blame    { return ofOthers }

// lostAlone means that a session was lost under a handler's work, and no other session with it. The work may be the cause, or
// somebody has ended the session.
type lostAlone struct{ error }

func (e lostAlone) Unwrap() error { return e.error }
func (lostAlone) whose() blame    { return ofOthers }

// restoreError means that the worker's own statements were refused under what a handler has set, and that they will not be again.
type restoreError struct{ error }

func (e restoreError) Unwrap() error { return e.error }
func (restoreError) whose() blame    { return ofOthers }

func (*HungError) whose() blame { return ofWorker }

// isConflict reports whether only other transactions prevent err's.
func isConflict(err error) bool {
	var other conflict
	var again restoreError
	return errors.As(err, &other) || errors.As(err, &again)
}

// isLostAlone reports whether err is that of a session that was lost alone.
func isLostAlone(err error) bool {
	var alone lostAlone
	return errors.As(err, &alone)
}

// ofStatement returns the error of a handler's statement with whose doing it is, where the session still lives. failed tells
// whether the statement may have been one of this transaction: what another database says is no conflict here.
func ofStatement(err error, failed bool) error {
	if failed && !isUnavailable(err) {
		switch sqlState(err) {
		case "40001", "40P01", "55P03": // serialization_failure, deadlock_detected, lock_not_available
			return conflict{fmt.Errorf("%w: %w", errInTheWay, err)}
		case "53100": // disk_full, which one event seldom causes, and which all have to wait out
			return conflict{fmt.Errorf("%w: %w", errNoRoom, err)}
		}
	}
	return told{err}
}

// ofCall returns what a call of a handler has returned, with whose doing it is. It leaves the error of a session that is lost to
// release. savepoints tells whether the handler has used any: one that was rolled back leaves a sound transaction behind.
func ofCall(conn *pgx.Conn, err error, savepoints bool) error {
	if Hung(err) != nil || conn.IsClosed() {
		return err
	}
	return ofStatement(err, savepoints || conn.PgConn().TxStatus() == 'E')
}

// ofBatch returns the error of a batch in which statements of the worker's own stand around handlers, with whose doing it is.
// Statements of the worker's own have judged theirs. It leaves the error of a session that is lost to release. ended means that the
// transaction has ended with the error, so that the session no longer tells that it has failed.
func ofBatch(conn *pgx.Conn, handlers []*pgx.QueuedQuery, err error, ended bool) error {
	if err == nil || Hung(err) != nil || conn.IsClosed() || isJudged(err) {
		return err
	}
	var early pgx.ErrPreprocessingBatch
	if !errors.As(err, &early) {
		return ofStatement(err, ended || conn.PgConn().TxStatus() == 'E')
	}
	for _, q := range handlers {
		if q.SQL == early.SQL() {
			return ofStatement(err, true)
		}
	}
	return refusal("a statement of the worker's own", err)
}

// refusal returns the error of a statement of the worker's own that the server has refused; what names it.
func refusal(what string, err error) error {
	return outage{fmt.Errorf("rouse: the database refuses %s: %w", what, err)}
}

// IsRefusal reports whether the server has refused a statement, and the session lives on: it does answer.
func IsRefusal(err error) bool {
	if err == nil {
		return false
	}
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && !isFatal(pgErr)
}

// isFatal reports whether an error of the server ends its session.
func isFatal(err *pgconn.PgError) bool {
	severity := err.SeverityUnlocalized
	if severity == "" {
		severity = err.Severity
	}
	return severity == "FATAL" || severity == "PANIC"
}
