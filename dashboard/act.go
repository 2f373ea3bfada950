package dashboard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	_ "embed" // the statement

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/parked"
	"github.com/rouse-es/rouse/projection"
)

const (
	// payloadTimeout bounds the look at one payload.
	payloadTimeout = 5 * time.Second

	// maxPayload is how many characters of a payload are shown.
	maxPayload = 64 << 10
)

//go:embed sql/payload.sql
var payloadSQL string

// errIncomplete means that an action was not told on what.
var errIncomplete = errors.New("dashboard: the projection or the position is missing")

// order is what an action is to be done to.
type order struct {
	Projection string `json:"projection"`
	Position   int64  `json:"position"` // 0: of no single event
}

// outcome is the answer to an action: a sentence, or an error that says what to do.
type outcome struct {
	Message string `json:"message,omitempty"`
	Error   string `json:"error,omitempty"`
}

// action does something and says what.
type action func(ctx context.Context, pool *pgxpool.Pool, o order) (string, error)

// actions are all that can be done from the page, by the path that is posted to.
var actions = map[string]action{
	"pause": func(ctx context.Context, pool *pgxpool.Pool, o order) (string, error) {
		return o.Projection + " is paused", projection.Pause(ctx, pool, o.Projection)
	},
	"resume": func(ctx context.Context, pool *pgxpool.Pool, o order) (string, error) {
		return o.Projection + " goes on", projection.Resume(ctx, pool, o.Projection)
	},
	"retry": func(ctx context.Context, pool *pgxpool.Pool, o order) (string, error) {
		n, err := parked.Retry(ctx, pool, parked.Filter{Projection: o.Projection, Position: o.Position})
		if n == 0 && err == nil {
			return "nothing is parked there any more", nil
		}
		return counted(n, "event") + " will be handled again, in order", err
	},
	"discard": func(ctx context.Context, pool *pgxpool.Pool, o order) (string, error) {
		if o.Position == 0 {
			return "", errIncomplete // a whole projection is discarded on the command line
		}
		n, err := parked.Discard(ctx, pool, parked.Filter{Projection: o.Projection, Position: o.Position})
		if n == 0 && err == nil {
			return "the event is not parked any more", nil
		}
		return "the event is discarded; what waited behind it is handled", err
	},
}

func counted(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// act answers the order of an action.
func (d *Dashboard) act(name string, do action) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		var o order
		if err := json.NewDecoder(r.Body).Decode(&o); err != nil || o.Projection == "" || o.Position < 0 {
			refuse(rw, http.StatusBadRequest, `send {"projection": "NAME"}, and "position" where one event is meant`)
			return
		}
		message, err := do(r.Context(), d.cfg.Pool, o)
		if err != nil {
			status, sentence := explainAction(err)
			d.cfg.Log.Warn().Err(err).Str("action", name).Str("projection", o.Projection).Msg("an action from the dashboard was not done")
			refuse(rw, status, sentence)
			return
		}
		d.cfg.Log.Info().Str("action", name).Str("projection", o.Projection).Int64("position", o.Position).Str("from", r.RemoteAddr).
			Msg("done from the dashboard")
		answer(rw, http.StatusOK, outcome{Message: message})
	}
}

// explainAction turns an error into a status and a sentence.
func explainAction(err error) (status int, sentence string) {
	var pgErr *pgconn.PgError
	switch {
	case errors.Is(err, projection.ErrNoProjection):
		return http.StatusNotFound, "there is no such projection"
	case errors.Is(err, errIncomplete):
		return http.StatusBadRequest, "say which event: the position is missing"
	case errors.As(err, &pgErr) && pgErr.Code == "42501": // insufficient_privilege
		return http.StatusForbidden, "the database role of this dashboard may only read: grant it rouse_worker"
	}
	return http.StatusServiceUnavailable, "nothing was done: " + explain(err)
}

// content is what is in an event.
type content struct {
	Payload  string `json:"payload"`
	Metadata string `json:"metadata"`
	Cut      bool   `json:"cut"` // one of them is longer than what is shown
}

// payload shows what is in one event. It is asked for only by who knows the token, and is never logged.
func (d *Dashboard) payload(rw http.ResponseWriter, r *http.Request) {
	position, err := strconv.ParseInt(r.FormValue("position"), 10, 64)
	if err != nil {
		refuse(rw, http.StatusBadRequest, "say which event: position=NUMBER")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), payloadTimeout)
	defer cancel()
	var c content
	err = d.cfg.Pool.QueryRow(ctx, payloadSQL, position, maxPayload).Scan(&c.Payload, &c.Metadata, &c.Cut)
	c.Payload, c.Metadata = indented(c.Payload), indented(c.Metadata)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		refuse(rw, http.StatusNotFound, "there is no event at this position")
	case err != nil:
		refuse(rw, http.StatusServiceUnavailable, explain(err))
	default:
		answer(rw, http.StatusOK, c)
	}
}

// indented is a JSON text over several lines, and as it is where it was cut off.
func indented(text string) string {
	var b bytes.Buffer
	if json.Indent(&b, []byte(text), "", "  ") != nil {
		return text
	}
	return b.String()
}

// answer sends a value as JSON.
func answer(rw http.ResponseWriter, status int, value any) {
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(status)
	_ = json.NewEncoder(rw).Encode(value) // who has gone away needs no answer
}
