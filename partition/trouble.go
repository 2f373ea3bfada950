package partition

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/rs/zerolog"
)

// onlyPeople are the SQLSTATEs that pass only when a person acts: invalid_password, invalid_authorization_specification,
// invalid_catalog_name (no such database), insufficient_privilege.
var onlyPeople = []string{"28P01", "28000", "3D000", "42501"}

// Refused returns a channel that gets, at most once, why the process cannot be registered, if only a person can mend it. Run
// goes on trying all the same. Once the process is registered nothing comes any more.
func (c *Control) Refused() <-chan error { return c.refused }

// Trouble returns why no heartbeat gets through; nil: nothing has failed, or one has got through since.
func (c *Control) Trouble() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trouble
}

// failed takes in why nothing gets through.
func (c *Control) failed(err error) {
	c.mu.Lock()
	c.trouble = err
	c.mu.Unlock()
	select {
	case <-c.ready:
		return
	default:
	}
	if errors.Is(err, ErrElsewhere) || slices.Contains(onlyPeople, codeOf(err)) || isForeign(err) {
		select {
		case c.refused <- err:
		default: // it has the first one
		}
	}
}

// isForeign reports whether what answers at the address does not take a parameter of it: PostgreSQL, or PgBouncer, which has one
// SQLSTATE for all that it says.
func isForeign(err error) bool {
	var pgErr *pgconn.PgError
	var connect *pgconn.ConnectError
	if !errors.As(err, &connect) || !errors.As(err, &pgErr) {
		return false
	}
	return pgErr.Code == "42704" || pgErr.Code == "08P01" && strings.Contains(pgErr.Message, "unsupported startup parameter")
}

// fails takes in that a statement of this Control failed, and returns when to go on, as serve does; or err if that costs the
// connection.
func (c *Control) fails(l *line, err error) (served, error) {
	if !c.isOwn(l, err) {
		return served{}, err
	}
	c.failed(err)
	if code := reasonOf(err); !c.quiet || code != c.code {
		c.quiet, c.code = true, code
		explain(c.cfg.Log, err, true)
	}
	c.beaten, c.resume = time.Time{}, time.Now().Add(c.pauses.NextBackOff())
	return served{next: c.resume}, nil
}

// isOwn reports whether err is the trouble of this Control alone, and leaves the connection to the others: a right, a table or
// the schema of its log is missing, its rows are locked, or its pool does not answer; or if only this Control takes the database
// for the wrong one.
func (c *Control) isOwn(l *line, err error) bool {
	var pool errPool
	var moved movedError
	switch {
	case l.conn.IsClosed(), errors.As(err, &moved):
		return false
	case errors.Is(err, ErrElsewhere):
		return l.admitted > 0
	}
	return errors.As(err, &pool) || ownTrouble(codeOf(err))
}

// ownTrouble reports whether an SQLSTATE is about the objects of a statement, and not about the session or the server: classes 22
// (data), 23 (constraints), 3F (schema), 42 (undefined, or no right), P0 (a trigger), and lock_not_available, object_in_use and
// query_canceled.
func ownTrouble(code string) bool {
	if code == "42P05" || len(code) != 5 { // a prepared statement, which is the session's
		return false
	}
	return slices.Contains([]string{"22", "23", "3F", "42", "P0"}, code[:2]) || slices.Contains([]string{"55P03", "55006", "57014"}, code)
}

// succeeded takes in that a heartbeat got through.
func (c *Control) succeeded() {
	c.pauses.Reset()
	if c.quiet {
		c.quiet = false
		c.cfg.Log.Info().Msg("the heartbeats get through again")
	}
}

// codeOf returns the SQLSTATE of err, "" if the server did not report it.
func codeOf(err error) string {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return pgErr.Code
	}
	return ""
}

// reasonOf returns what tells the end of one session from that of another: the SQLSTATE, or that it led elsewhere.
func reasonOf(err error) string {
	if errors.Is(err, ErrElsewhere) {
		return "elsewhere"
	}
	return codeOf(err)
}

// explain logs why nothing gets through: as an error if a person has to mend its cause, as a warning if it passes by itself.
// connected: the connection stands, and the trouble is that of one log.
func explain(log zerolog.Logger, err error, connected bool) {
	if code := codeOf(err); code == "42501" || code == "42P01" { // insufficient_privilege, undefined_table
		log.Error().Err(err).Msg("the heartbeats are refused, and others may take the partitions: grant select, insert, update and delete on" +
			" projection_workers, and select on rouse_members")
		return
	}
	if errors.Is(err, ErrElsewhere) {
		log.Error().Err(err).Msg("the control connection leads to another database, and others may take the partitions; connecting again")
		return
	}
	if connected {
		log.Warn().Err(err).Msg("a heartbeat or a look did not get through, trying again")
		return
	}
	log.Warn().Err(err).Msg("the control connection is lost, connecting again")
}
