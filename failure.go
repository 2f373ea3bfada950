package rouse

import (
	"errors"
	"strings"

	"github.com/rouse-es/rouse/eventstore"
)

// OnFailure is what becomes of an event that its handler cannot handle, once it was tried often enough.
type OnFailure string

const (
	// Park sets the event aside, and later events of the same aggregate behind it, in order. All others flow on. See package
	// parked for how to handle them again or to give them up. It is the default.
	Park OnFailure = "park"

	// Stop stops the projection before the event, with a StoppedError, until a worker is started anew.
	Stop OnFailure = "stop"

	// Skip passes over the event for good and goes on with the next, also with those of the same aggregate.
	Skip OnFailure = "skip"
)

// FailurePolicy is a Projection or an Effect that wants another OnFailure than Config says.
type FailurePolicy interface {
	// OnFailure is asked once, by New.
	OnFailure() OnFailure
}

func (o OnFailure) valid() bool { return o == Park || o == Stop || o == Skip }

// permanentError marks an error that trying again cannot mend.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// Permanent marks an error of a handler as one that trying again cannot mend, so that OnFailure decides at once. It returns
// nil for nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanentError{err}
}

func isPermanent(err error) bool {
	var permanent permanentError
	return errors.As(err, &permanent)
}

// errDied is why an event is given up that no handler ever returned from.
var errDied = errors.New("the process died, or was killed, each time while it handled this event")

// reasonLimit bounds what is kept of an error, in bytes.
const reasonLimit = 2000

// reason is the text of an error as the database can keep it: a handler may quote what is no text there.
func reason(err error) string {
	text := strings.ToValidUTF8(strings.ReplaceAll(err.Error(), "\x00", ""), "\ufffd")
	if len(text) > reasonLimit {
		text = strings.ToValidUTF8(text[:reasonLimit], "")
	}
	return text
}

// stoppedBy is the error of a projection that an event has stopped.
func (s *session) stoppedBy(ev eventstore.Event, err error) error {
	return &StoppedError{Projection: s.name, Position: ev.GlobalPosition, AggregateType: ev.AggregateType,
		AggregateID: ev.AggregateID, Version: ev.AggregateVersion, EventType: ev.Type, Err: err}
}
