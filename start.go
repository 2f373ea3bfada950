package rouse

import (
	"fmt"
	"strings"
	"time"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/internal/traits"
)

// Start says where in the log a projection or effect begins: Beginning, Now, Position or Time. It counts once, when its checkpoints
// are made: at the first start of a worker that runs it, for all of its partitions and whoever else starts at that moment, or by
// projection.Create. Afterwards projection.Reset moves it. The zero value says nothing.
type Start = catchup.Start

const (
	// Beginning is the beginning of the log: all that was ever appended is handled.
	Beginning = catchup.Beginning

	// Now leaves out what was committed before the checkpoints were made, and nothing that is committed later, even if its append
	// was open by then and stands at a lower position. If more than 10,000 events were committed behind such an append, the start is refused.
	Now = catchup.Now
)

// Position is the Start behind a position: the first event that is handled is the next one. It must not be beyond the last event.
func Position(position int64) Start { return catchup.StartBehind(position) }

// Time is the Start with the first event that was appended at a time or later, by the times of the events (created_at). It never leaves one
// of these out. Where clocks were set back, or appends were open for long, it also handles some that were appended before. A time that has not come
// yet is about Now. The log is read from its beginning for it, in statements of 50,000 events, so
// the first start takes longer the more there is before that time.
func Time(at time.Time) Start { return catchup.StartAt(at) }

// Starter is a Projection or an Effect that says where it begins, in place of Config.StartFrom.
type Starter interface {
	// StartFrom returns the Start. New may call it more than once; it must return the same value each time.
	StartFrom() Start
}

// unsaidError is why an effect does not begin that nobody has said a Start of. It wraps ErrNoStart and names the lines to choose from.
type unsaidError struct{ effect Effect }

func (e unsaidError) Error() string {
	kind := fmt.Sprintf("%T", e.effect)
	kind = kind[strings.LastIndex(kind, ".")+1:]
	if strings.HasPrefix(fmt.Sprintf("%T", e.effect), "*") {
		kind = "*" + kind
	}
	line := func(start string) string {
		if starting, is := optional(e.effect).(traits.Starting); is {
			return starting.StartLine(start)
		}
		return "func (" + kind + ") StartFrom() rouse.Start { return rouse." + start + " }"
	}
	return fmt.Sprintf("%v: %s would do again all that has ever happened (add one of two lines: %s to leave out what is there, or %s to do it all; or once: rouse projection create %s --from now|beginning)",
		ErrNoStart, e.effect.Name(), line("Now"), line("Beginning"), e.effect.Name())
}

func (e unsaidError) Unwrap() error { return ErrNoStart }
