package apply

import (
	"errors"
	"time"
)

// Retry says how often an event is tried, and when again.
type Retry struct {
	// Tries is how often an event is tried before OnFailure decides, the first time included, at least 1.
	Tries int

	// Pause returns how long to wait after a try, which counts from 1. It may be called by several goroutines.
	Pause func(try int) time.Duration
}

// diedLimit is after how many tries in a row from which no handler has returned, because the process died or the handler hung,
// an event is given up, whatever Retry allows: each of them costs a process with all that it does. It is above the number of
// times that an event may be in hand by chance when something else kills its process.
const diedLimit = 6

// verdict is what follows from the failure of an event: it is tried again after pause, or it is given up.
type verdict struct {
	again bool
	pause time.Duration
}

// after returns what follows from the last of tries at an event, which has ended with err and counts. From the last died of them
// no handler has returned.
func (r Retry) after(tries, died int, err error) verdict {
	if tries >= r.Tries || died >= diedLimit || isPermanent(err) {
		return verdict{}
	}
	return verdict{again: true, pause: max(r.Pause(max(tries, 1)), wantedPause(err))}
}

// spent reports whether an event must not be tried once more.
func (r Retry) spent(tries, died int) bool { return tries >= r.Tries || died >= diedLimit }

// laterError is an error of a handler that wants a pause of its own before the next try.
type laterError struct {
	error
	pause time.Duration
}

func (e laterError) Unwrap() error { return e.error }

// RetryAfter marks err as an error after which the next try must wait for at least pause. It returns nil for nil.
func RetryAfter(err error, pause time.Duration) error {
	if err == nil {
		return nil
	}
	return laterError{err, pause}
}

// wantedPause returns the longest pause that an error in the chain of err wants, 0 if none does.
func wantedPause(err error) (pause time.Duration) {
	var later laterError
	for errors.As(err, &later) {
		pause = max(pause, later.pause)
		err = later.error
	}
	return pause
}
