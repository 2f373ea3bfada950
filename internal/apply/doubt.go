package apply

import (
	"errors"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/rouse-es/rouse/eventstore"
)

const (
	// patience is how long failures that somebody else may be the cause of (ofOthers) do not count: longer than a failover, a
	// migration of the read model or the lock of a person at a prompt takes, and short enough for an event that only looks as if
	// others were in its way.
	patience = time.Minute

	// doubtInPlace is how long such failures keep an event in its place under Park and Skip. What takes longer than two
	// transactions in each other's way need is set aside, so that nobody else waits for it.
	doubtInPlace = time.Second

	// doubtPause is how long such an event is set aside until its next try.
	doubtPause = time.Second

	// doubtInterval is how often the log says that such failures go on.
	doubtInterval = 10 * time.Second
)

// doubt is a row of failures of one event that somebody else may be the cause of. It is for one goroutine.
type doubt struct {
	patience time.Duration
	pauses   *backoff.ExponentialBackOff
	since    time.Time // the first; zero: there was none
	said     time.Time
}

// newDoubt returns a doubt without a failure. The pauses after its failures grow from 1 ms, for a deadlock, to 1 s, for a lock that
// is held for long.
func newDoubt(patience time.Duration) *doubt {
	pauses := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(time.Millisecond),
		backoff.WithMaxInterval(time.Second),
		backoff.WithMultiplier(2),
		backoff.WithMaxElapsedTime(0), // patience decides
	)
	pauses.Reset()
	return &doubt{patience: patience, pauses: pauses}
}

// again takes a failure in, and returns the pause before the next try.
func (d *doubt) again() (pause time.Duration) {
	if d.since.IsZero() {
		d.since = time.Now()
	}
	return d.pauses.NextBackOff()
}

// lasted returns for how long there have been such failures, 0 if there was none.
func (d *doubt) lasted() time.Duration {
	if d.since.IsZero() {
		return 0
	}
	return time.Since(d.since)
}

// counts reports whether the last failure counts, because they have lasted for the patience.
func (d *doubt) counts() bool { return !d.since.IsZero() && d.lasted() >= d.patience }

// toSay reports whether the log has to say that the failures go on.
func (d *doubt) toSay() bool {
	if !d.said.IsZero() && time.Since(d.said) < doubtInterval {
		return false
	}
	d.said = time.Now()
	return true
}

// doubted logs a failure of ev that does not count yet, at once and then every doubtInterval.
func (a *Applier) doubted(d *doubt, ev eventstore.Event, err error) {
	a.hooks.Retrying()
	if !d.toSay() {
		return
	}
	a.log.Warn().Err(err).Int64(keyPosition, ev.GlobalPosition).Str(keyAggregateType, ev.AggregateType).Str(keyAggregateID, ev.AggregateID).
		Msg("an event cannot be handled for now, trying again: this counts as a failure of the event once it has lasted a minute")
}

// mayYield reports whether an event that fails with err may be set aside, because others need not wait for it. Where the disk is full
// they have to wait too.
func (a *Applier) mayYield(err error) bool {
	return a.run.handler.OnFailure != Stop && !errors.Is(err, errNoRoom)
}
