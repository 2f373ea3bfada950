package pulse

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestPulse tells a loop that waits from one that is gone.
func TestPulse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var p Pulse
		p.Working()
		time.Sleep(workLimit)
		assert.False(t, p.Late())
		time.Sleep(time.Second)
		assert.True(t, p.Late(), "a statement never came back")
		p.Yielding()
		time.Sleep(time.Hour)
		assert.False(t, p.Late(), "a handler may take its time")

		p.Waiting(10)
		time.Sleep(time.Hour)
		behind, tooLong := p.Asleep(10)
		assert.False(t, behind || tooLong, "there is nothing to read")
		behind, tooLong = p.Asleep(11)
		assert.True(t, behind)
		assert.False(t, tooLong, "the event may have come just now")
		time.Sleep(wakeLimit)
		_, tooLong = p.Asleep(11)
		assert.True(t, tooLong)
		p.Waiting(10)
		_, tooLong = p.Asleep(11)
		assert.False(t, tooLong, "it has looked, and found it blocked")
	})
}
