package rouse

import (
	"math/rand/v2"
	"time"

	"github.com/rouse-es/rouse/internal/apply"
)

// The defaults of RetryPolicy.Tries.
const (
	// DefaultTries is for projections under Park and Skip: with the default pauses, the last try is 11 minutes after the first.
	DefaultTries = 20

	// DefaultEffectTries is for effects under Park and Skip: with the default pauses, the last try is a day after the first.
	DefaultEffectTries = 39

	// DefaultStopTries is under Stop, where everything else waits: with the default pauses, the last try is 3 s after the first.
	DefaultStopTries = 6
)

// RetryPolicy says when an event that failed is tried again, and when for the last time. Only failures count that are its own or
// its handler's: not those of the database, of the network or of other transactions. The zero value selects the defaults.
//
// Under Park and Skip the event is set aside meanwhile, with the later events of its aggregate behind it, and nothing else waits.
// Under Stop it is tried in its place, and everything waits.
type RetryPolicy struct {
	// Tries is how often an event is tried by itself before OnFailure decides, the first time included. The tries are counted in
	// the database, so they add up over processes. Under Park and Skip, tries from which the handler does not return, because its
	// process dies or it hangs, are never more than six in a row. Default: DefaultTries, DefaultEffectTries or DefaultStopTries. Negative: one.
	Tries int

	// Pause returns how long to wait after a try that has failed, which counts from 1. It must be safe for concurrent use. Default:
	// Doubling from 100 ms, up to a minute for projections and up to an hour for effects.
	Pause func(try int) time.Duration

	// Jitter is by how much of itself a pause is longer or shorter, at random, so that events that failed together do not come
	// again together: up to 1. Default: 0.2. Negative: none.
	Jitter float64
}

// Retrier is a Projection or an Effect with a RetryPolicy of its own in place of that of Config.
type Retrier interface {
	// RetryPolicy returns the policy. New may call it more than once; it must return the same each time.
	RetryPolicy() RetryPolicy
}

// Doubling returns a RetryPolicy.Pause that is first after the first try, and doubles with each try up to longest.
func Doubling(first, longest time.Duration) func(try int) time.Duration {
	return func(try int) time.Duration {
		pause := first
		for ; try > 1 && pause < longest; try-- {
			pause *= 2
		}
		return min(pause, longest)
	}
}

// RetryAfter marks an error of a handler as one after which the next try must wait for pause at least, such as the answer of a
// service that says when to come again. The try counts as any other. It returns nil for nil.
func RetryAfter(err error, pause time.Duration) error { return apply.RetryAfter(err, pause) }

// NotBefore returns an error by which a handler says that it wants its event again at t, and no earlier: a deadline. Nothing has failed. No
// try counts, no breaker opens, and no Observer.Failed or GaveUp is called. The event is set aside until then, under each OnFailure, also
// Stop, and later events of its aggregate wait behind it, so a deadline needs an aggregate of its own; all others flow on. At t, or within
// about a second of it, the handler is called with it again, by whichever worker owns its partition then. What a Projection has written in
// the call is rolled back.
//
//	if due := ev.CreatedAt.Add(14 * 24 * time.Hour); time.Now().Before(due) {
//		return rouse.NotBefore(due)
//	}
//
// It may be wrapped, and then counts whatever else is in the error, but for Unavailable. A t that is not a second ahead counts as in a
// second. If a handler fails at its time, under Stop the event is parked after RetryPolicy.Tries, because its projection has gone on.
func NotBefore(t time.Time) error { return apply.NotBefore(t) }

// NotBeforeTime returns the time in an error of NotBefore; ok is false for any other error. Observer.Ended tells with it what has not
// failed.
func NotBeforeTime(err error) (t time.Time, ok bool) { return apply.NotBeforeOf(err) }

// withDefaults returns p with its defaults for a projection or an effect under onFailure.
func (p RetryPolicy) withDefaults(effect bool, onFailure OnFailure) RetryPolicy {
	tries, longest := DefaultTries, time.Minute
	if effect {
		tries, longest = DefaultEffectTries, time.Hour
	}
	if onFailure == Stop {
		tries = DefaultStopTries
	}
	if p.Tries == 0 {
		p.Tries = tries
	}
	if p.Pause == nil {
		p.Pause = Doubling(100*time.Millisecond, longest)
	}
	if p.Jitter == 0 {
		p.Jitter = 0.2
	}
	return p
}

// retry returns p, which has its defaults, in the terms of package apply.
func (p RetryPolicy) retry() apply.Retry {
	return apply.Retry{Tries: max(p.Tries, 1), Pause: func(try int) time.Duration {
		pause := max(p.Pause(try), 0)
		if p.Jitter > 0 {
			pause = time.Duration(float64(pause) * (1 + p.Jitter*(2*rand.Float64()-1)))
		}
		return pause
	}}
}
