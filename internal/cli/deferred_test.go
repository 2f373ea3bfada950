package cli

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/rouse-es/rouse/internal/report"
	"github.com/rouse-es/rouse/parked"
)

// What waits for the time that its handler has named is shown as that, with the time, and not as failing.
func TestDeferredEventsAreShownWithTheirTime(t *testing.T) {
	t.Parallel()
	due := time.Now().Add(48 * time.Hour)
	ev := parked.Event{First: true, Deferred: true, DueAt: due}
	assert.Equal(t, "deferred", stateOf(ev))
	assert.Equal(t, "not before "+due.UTC().Format(time.RFC3339), next(ev))
	ev.Deferred, ev.Error = false, "broken"
	assert.Equal(t, "retrying", stateOf(ev))
	assert.Contains(t, next(ev), "in ")

	seconds := 48 * 3600.0
	lines := remarks(report.Projection{Deferred: report.Deferred{Events: 3, Aggregates: 2, NextSeconds: &seconds}})
	assert.Len(t, lines, 1)
	assert.Regexp(t, `^3 deferred events of 2 aggregates, the first of them not before \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \(see .*\bparked list\)$`, lines[0])
	seconds = -5
	lines = remarks(report.Projection{Deferred: report.Deferred{Events: 1, Aggregates: 1, NextSeconds: &seconds}})
	assert.Contains(t, lines[0], "the first of them now")
}
