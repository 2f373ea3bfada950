package rouse_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/rouse-es/rouse"
)

func TestTheRateOfAWorkerIsNeverBelowNothing(t *testing.T) {
	t.Parallel()
	assert.Positive(t, rouse.Rate(100, 200))
	assert.GreaterOrEqual(t, rouse.Rate(0, 12000, 0, 0, 0), 0.0, "a shadow that had handled 12,000 has ended")
}
