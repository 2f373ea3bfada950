package catchup

import (
	"time"

	"github.com/rouse-es/rouse/listener"
)

// pushGrace is how long a notification may take before it counts as missed. Polls behind a proven push are at least as
// far apart.
const pushGrace = MinProvenPause

// pushCheck checks that the push announces the events that it should. It may overlook a missing push when another one
// comes in its place; it never reports a push that came. It is for one goroutine.
type pushCheck struct {
	owed    time.Time // when an event was read whose push is still due; zero: none is
	blocked bool      // the last read met a hole, whose end by a rollback does not notify
}

// noteRead notes a read, its cause, and the state of the listener, and reports whether a push is missing.
func (p *pushCheck) noteRead(b Batch, cause string, state listener.State) (missed bool) {
	sleeping := state.Mode == listener.Quiet && state.Proven && b.Push
	switch {
	case !sleeping || cause == WakePush:
		p.owed = time.Time{}
	case !p.owed.IsZero() && time.Since(p.owed) >= pushGrace:
		missed, p.owed = true, time.Time{}
	}
	last := len(b.Events) - 1
	untold := cause == WakePoll || cause == WakeProbe
	if sleeping && untold && !p.blocked && last >= 0 && b.Events[last].GlobalPosition > state.ArmedHead && p.owed.IsZero() {
		p.owed = time.Now()
	}
	p.blocked = b.Blocked
	return missed
}
