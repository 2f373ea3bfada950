package projector

import (
	"context"
	"time"
)

// The reset of a projection, and the pulse of its loop, for tests that use packages above this one.

// StartOver resets p.
func StartOver(ctx context.Context, p *Projector) error { return p.startOver(ctx) }

// WorkingFor says how long the loop of p may work before it is late.
func WorkingFor(p *Projector, d time.Duration) { p.pulse.WorkingFor(d) }

// Late reports whether the loop of p counts as one that does not run.
func Late(p *Projector) bool { return p.pulse.Late() }
