package cli

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestWaitTakesAPositionOrTheHead(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"head": -1, "0": 0, "17": 17} {
		at, err := parseWaited(text)
		assert.NoError(t, err, text)
		assert.Equal(t, want, at, text)
	}
	for _, text := range []string{"", "-1", "end", "1.5", "99999999999999999999"} {
		_, err := parseWaited(text)
		assert.Error(t, err, text)
	}
}
