package partition

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/internal/db"
)

// ErrElsewhere means that the control connection does not lead to the database of the pool: a member that registers there is
// nobody here.
var ErrElsewhere = errors.New("partition: the address to listen at leads to another database than the pool" +
	" (let ROUSE_LISTEN_URL, or Config.ListenConn, lead to the same database)")

// place is what a Control knows of the places of the pool and of the connection. The session's goroutine asks, and the Control's
// own one answers, so that a pool whose connections are all in use holds up nobody else's heartbeats.
type place struct {
	questions chan bool   // sent by admit: whether to ask anew; buffered to 1, there is one at a time
	answers   chan placed // sent by answer; buffered to 1 likewise

	// For the session's goroutine alone.
	common string // what the pool and a connection had in common
	asked  bool   // a question is under way
	here   string // where the connection led when it was asked; "": not known, or another connection since
	misses int    // answers in a row that were another place than the connection's
}

// placed is where the pool leads to, or why nobody knows.
type placed struct {
	place string
	err   error
}

func newPlace() place { return place{questions: make(chan bool, 1), answers: make(chan placed, 1)} }

// answer answers the session's questions where the pool leads to, until ctx ends.
func (c *Control) answer(ctx context.Context) {
	for {
		var anew bool
		select {
		case <-ctx.Done():
			return
		case anew = <-c.place.questions:
		}
		there, err := c.placeOfPool(ctx, anew)
		c.place.answers <- placed{there, err}
		c.session.nudge()
	}
}

// admit sets admitted if l leads to the same incarnation of a database as the pool; otherwise it asks the pool, and has to be
// called again. It asks only about a place that is new. It returns an error that wraps ErrElsewhere after two different answers,
// because the database may begin another incarnation between two looks, and the pool may hold connections to where its name led
// before: the second question is asked anew.
func (c *Control) admit(ctx context.Context, l *line) error {
	var there string // "": the pool was not asked
	if c.place.asked {
		select {
		case a := <-c.place.answers:
			c.place.asked = false
			if a.err != nil {
				return a.err
			}
			there = a.place
		default:
			return nil
		}
	}
	if c.cfg.Place != nil {
		here, err := c.place.here, error(nil)
		if there == "" || here != there {
			here, err = c.placeOf(ctx, l.conn)
		}
		switch {
		case err != nil:
			return err
		case here == "" || here != c.place.common && here != there:
			if there != "" {
				c.place.misses++
			}
			if c.place.misses == 2 {
				c.place.misses = 0
				return ErrElsewhere
			}
			c.place.asked, c.place.here = true, here
			c.place.questions <- c.place.misses > 0
			return nil
		}
		c.place.common, c.place.misses = here, 0
	}
	c.admitted = true
	l.admitted++
	return nil
}

// movedError means that the pool has come to another incarnation than the connection is to, which is so for all logs of it.
type movedError struct{ error }

// Unwrap returns the cause.
func (e movedError) Unwrap() error { return e.error }

// Seen tells the control which incarnation the pool has come to. If the control connection is to another one, because the name
// that both follow has moved and the server behind it goes on, it is opened anew. It does not wait.
func (c *Control) Seen(token string) {
	c.mu.Lock()
	c.seenByPool = token
	c.mu.Unlock()
	c.session.nudge()
}

// checkSeen returns an error that wraps ErrElsewhere, and costs the connection, if l does not lead to the incarnation that the
// pool has come to since the last call.
func (c *Control) checkSeen(ctx context.Context, l *line) error {
	c.mu.Lock()
	token := c.seenByPool
	c.seenByPool = ""
	c.mu.Unlock()
	if token == "" || c.cfg.Place == nil || strings.HasPrefix(c.place.common, token+" ") {
		return nil
	}
	here, err := c.placeOf(ctx, l.conn)
	if err == nil && !strings.HasPrefix(here, token+" ") {
		c.place.common, err = "", movedError{ErrElsewhere} // the pool is asked again, which may be where it should not be
	}
	return err
}

// Place returns which incarnation of which database d leads to, for comparison. The incarnation must have its token.
func Place(ctx context.Context, d db.DB) (place string, err error) {
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	if err := db.QueryRow(ctx, d, []any{&place}, sqlPlace.For(d)); err != nil {
		return "", fmt.Errorf("partition: look which database the pool leads to: %w", err)
	}
	return place, nil
}

// errPool means that the pool did not say where it leads to.
type errPool struct{ error }

// Unwrap returns the cause.
func (e errPool) Unwrap() error { return e.error }

// placeOfPool returns the Place of the pool, which may have to connect first; what it begins then serves the next try.
func (c *Control) placeOfPool(ctx context.Context, anew bool) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*controlTimeout)
	defer cancel()
	there, err := c.cfg.Place(ctx, anew)
	if err != nil {
		return "", errPool{err}
	}
	return there, nil
}

// placeOf returns the Place of conn; "": there is no token, or nothing that could have one.
func (c *Control) placeOf(ctx context.Context, conn *pgx.Conn) (place string, err error) {
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	err = conn.QueryRow(ctx, sqlPlace.In(c.cfg.Schema)).Scan(&place)
	switch code := codeOf(err); {
	case err == nil, errors.Is(err, pgx.ErrNoRows):
		return place, nil
	case code == "42P01", code == "42883", code == "3F000": // undefined table, function, schema
		return "", nil
	}
	return "", fmt.Errorf("partition: look which database the control connection leads to: %w", err)
}
