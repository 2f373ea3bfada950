package dashboard

import (
	"net/http"
	"time"
)

// Looking tells whether the loop of looks runs.
func (d *Dashboard) Looking() bool {
	d.stream.turn.Lock()
	defer d.stream.turn.Unlock()
	return d.stream.done != nil
}

// SessionOf makes the cookie of a session.
func SessionOf(d *Dashboard, r *http.Request) *http.Cookie { return d.guard.newCookie(r) }

// OldSession is a session that was good a second ago.
func OldSession(d *Dashboard, r *http.Request) *http.Cookie {
	return d.guard.cookie(r, time.Now().Add(-time.Second))
}
