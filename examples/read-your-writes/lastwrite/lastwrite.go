// Package lastwrite makes the reads of a browser, or of any client that keeps cookies, see its own last write: HTTP middleware over
// rouse.WaitFor. Copy it; it needs nothing but rouse.
package lastwrite

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
)

// Name is that of the cookie, and of the header that a client may send in its place and finds in the answer to a write.
const Name = "Last-Write"

const (
	// maxAge is how long a client remembers: longer than a projection is ever behind that works.
	maxAge = time.Minute

	// maxPositions bounds what is believed of a client, who can send anything; all it can reach with that is to wait.
	maxPositions = 64
)

// Remember writes into an answer what was appended, after its transaction has committed and before the body is written.
func Remember(w http.ResponseWriter, a eventstore.Appended) {
	text := Encode(a)
	w.Header().Set(Name, text)
	http.SetCookie(w, &http.Cookie{Name: Name, Value: text, Path: "/", MaxAge: int(maxAge.Seconds()), HttpOnly: true, SameSite: http.SameSiteLaxMode})
}

// Encode returns a as a short text, slot and positions: all that a wait needs.
func Encode(a eventstore.Appended) string {
	positions := a.Positions
	if len(positions) > maxPositions {
		positions = positions[len(positions)-maxPositions:] // the last of them is what has to be handled
	}
	parts := []string{strconv.Itoa(int(a.Slot))}
	for _, p := range positions {
		parts = append(parts, strconv.FormatInt(p, 36))
	}
	return strings.Join(parts, ".")
}

// Decode is the reverse of Encode.
func Decode(text string) (a eventstore.Appended, err error) {
	parts := strings.Split(text, ".")
	slot, err := strconv.ParseInt(parts[0], 10, 16)
	if err != nil || slot < 0 || slot > 1023 || len(parts) < 2 || len(parts) > maxPositions+1 {
		return a, fmt.Errorf("lastwrite: %q is no last write", text)
	}
	a.Slot = int16(slot)
	for _, part := range parts[1:] {
		p, err := strconv.ParseInt(part, 36, 64)
		if err != nil || p < 1 {
			return a, fmt.Errorf("lastwrite: %q is no last write", text)
		}
		a.Positions = append(a.Positions, p)
	}
	if !slices.IsSorted(a.Positions) {
		return a, fmt.Errorf("lastwrite: %q is no last write", text)
	}
	return a, nil
}

// Middleware lets a read wait until projection has handled the last write of its client, for patience at most, and goes on then: an older
// page is better than none. It says so in the header Last-Write-Seen: "no", with the reason, or "yes". Writes, and reads of clients that
// have written nothing lately, do not wait.
func Middleware(waiter *rouse.Waiter, projection string, patience time.Duration, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := r.Header.Get(Name)
		if cookie, err := r.Cookie(Name); err == nil && text == "" {
			text = cookie.Value
		}
		if a, err := Decode(text); err == nil && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
			w.Header().Set(Name+"-Seen", wait(r.Context(), waiter, projection, patience, a))
		}
		next.ServeHTTP(w, r)
	})
}

// wait waits for patience, and returns what became of it.
func wait(ctx context.Context, waiter *rouse.Waiter, projection string, patience time.Duration, a eventstore.Appended) string {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := waiter.WaitFor(ctx, projection, a)
	switch {
	case err == nil:
		return "yes"
	case errors.Is(err, rouse.ErrParked):
		return "no, it has failed and waits for people"
	case errors.Is(err, rouse.ErrPaused), errors.Is(err, rouse.ErrStopped), errors.Is(err, rouse.ErrNoProjection):
		return "no, nothing is handled at the moment"
	}
	return "no, not yet"
}
