package projector

import (
	"strings"
	"sync"
	"time"

	"github.com/rouse-es/rouse/internal/apply"
	"github.com/rouse-es/rouse/partition"
)

// troubleLimit is the maximum length of a trouble's text, in bytes. Every heartbeat carries it, once a second.
const troubleLimit = 500

// troubled reports whether a projection in the state does not get on, though it should.
func (s State) troubled() bool { return s == Retrying || s == Waiting }

// trouble is what keeps a projection from getting on. Its methods may be called by many goroutines.
type trouble struct {
	mu    sync.Mutex // protects the fields below
	text  string     // the newest cause; of use only while there is a since
	halt  string     // what ended the last session, so that nothing is handled until another one gets on; "": nothing
	since time.Time  // since when the projection does not get on; zero: it does
}

// note notes the newest cause.
func (t *trouble) note(text string) {
	if len(text) > troubleLimit {
		text = strings.ToValidUTF8(text[:troubleLimit], "")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = text
}

// halted notes why nothing is handled.
func (t *trouble) halted(why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.halt = why
}

// isHalted returns why nothing is handled; "": something may be.
func (t *trouble) isHalted() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.halt
}

// enter notes that the projection is in a state; the first of several in which it does not get on says since when.
func (t *trouble) enter(state State) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if state != Retrying {
		t.halt = ""
	}
	switch {
	case !state.troubled():
		t.since = time.Time{}
	case t.since.IsZero():
		t.since = time.Now()
	}
}

// inTrouble shows a state in which the projection does not get on, and why: what, and err unless it is nil. It reports whether the
// state was another one. The heartbeats carry it, so that others can read it; any other state takes it back.
func (p *Projector) inTrouble(state State, what string, err error) bool {
	text := what
	if err != nil {
		text += ": " + apply.Reason(err)
	}
	p.trouble.note(text)
	return p.setState(state)
}

// Trouble returns what keeps the projection from getting on, and since when; is false: it gets on, or is not to.
func (p *Projector) Trouble() (_ partition.Trouble, is bool) {
	p.trouble.mu.Lock()
	defer p.trouble.mu.Unlock()
	return partition.Trouble{Text: p.trouble.text, Since: p.trouble.since}, !p.trouble.since.IsZero()
}
