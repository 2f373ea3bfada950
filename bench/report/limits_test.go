package report

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestLimitsAreExplainedWhereSomethingIsMeasured, and nowhere else.
func TestLimitsAreExplainedWhereSomethingIsMeasured(t *testing.T) {
	t.Parallel()
	const heading = "## Where these numbers come from"
	page, _ := write(t, t.TempDir())
	assert.NotContains(t, page, heading)
	page, _ = write(t, "../results")
	assert.Contains(t, page, heading)
}
