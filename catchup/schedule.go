package catchup

import (
	"time"

	"github.com/cenkalti/backoff/v4"
)

const (
	// MinPause and MaxPause bound the pauses where no push is proven, which double from the first to the second after
	// an event.
	MinPause = 10 * time.Millisecond
	MaxPause = time.Second

	// MinProvenPause and MaxProvenPause bound the pauses behind a proven push, which double from the first to the
	// second. These polls serve only notifications that are lost in a way that is not known.
	MinProvenPause = time.Second
	MaxProvenPause = 30 * time.Second

	// The bounds of WhileBlocked.
	minSettlePause = time.Millisecond
	maxSettlePause = time.Second
)

// Schedule computes the pause before the next read when nothing wakes the reader. It is for one goroutine.
type Schedule struct {
	proven   *backoff.ExponentialBackOff
	unproven *backoff.ExponentialBackOff
	settling time.Time // when reads began to wait for an open append; zero: they do not
}

// NewSchedule returns a Schedule that starts with the shortest pauses.
func NewSchedule() *Schedule {
	return &Schedule{proven: doubling(MinProvenPause, MaxProvenPause), unproven: doubling(MinPause, MaxPause)}
}

// doubling returns pauses that double from least to most, for ever, and vary by a fifth without leaving these bounds.
func doubling(least, most time.Duration) *backoff.ExponentialBackOff {
	const jitter = 0.2
	b := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(time.Duration(float64(least)/(1-jitter))),
		backoff.WithMaxInterval(time.Duration(float64(most)/(1+jitter))),
		backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(jitter),
		backoff.WithMaxElapsedTime(0), // the default gives up after 15 minutes
	)
	b.Reset()
	return b
}

// Reset starts over with short pauses, because there was an event to read.
func (s *Schedule) Reset() {
	s.proven.Reset()
	s.unproven.Reset()
	s.settling = time.Time{}
}

// Poll returns the pause before the next fallback read. It grows from MinProvenPause to MaxProvenPause behind a proven
// push, and from MinPause to MaxPause otherwise.
func (s *Schedule) Poll(proven bool) time.Duration {
	s.settling = time.Time{}
	if !proven {
		s.proven.Reset()
		return s.unproven.NextBackOff()
	}
	return s.proven.NextBackOff()
}

// WhileBlocked returns the pause before the next read while an open append holds back the events behind it: a tenth of
// the time that has passed so far, between 1 ms and 1 s. So the wait costs at most a tenth of the cost of the append
// itself, and an append that stays open for hours is checked once a second.
func (s *Schedule) WhileBlocked(now time.Time) time.Duration {
	if s.settling.IsZero() {
		s.settling = now
	}
	return min(max(now.Sub(s.settling)/10, minSettlePause), maxSettlePause)
}
