package rouse

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/listener"
)

// TestPulse tells a loop that waits from one that is gone.
func TestPulse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var p pulse
		p.working()
		time.Sleep(ownLimit)
		assert.False(t, p.late())
		time.Sleep(time.Second)
		assert.True(t, p.late(), "a statement never came back")
		p.yielding()
		time.Sleep(time.Hour)
		assert.False(t, p.late(), "a handler may take its time")

		p.waiting(10)
		time.Sleep(time.Hour)
		behind, tooLong := p.asleep(10)
		assert.False(t, behind || tooLong, "there is nothing to read")
		behind, tooLong = p.asleep(11)
		assert.True(t, behind)
		assert.False(t, tooLong, "the event may have come just now")
		time.Sleep(wakeLimit)
		_, tooLong = p.asleep(11)
		assert.True(t, tooLong)
		p.waiting(10)
		_, tooLong = p.asleep(11)
		assert.False(t, tooLong, "it has looked, and found it blocked")
	})
}

// TestPushCheck: a push is missed when a poll has found what it should have told, and it does not come late either.
func TestPushCheck(t *testing.T) {
	t.Parallel()
	proven := listener.State{Mode: listener.Quiet, Proven: true, ArmedHead: 3}
	found := func(position int64) catchup.Batch {
		return catchup.Batch{Push: true, Events: []eventstore.Event{{GlobalPosition: position}}}
	}
	nothing := catchup.Batch{Push: true}
	for _, tc := range []struct {
		name   string
		state  listener.State
		first  catchup.Batch // read before
		second catchup.Batch // found by a poll
		then   string        // what led to the next read
		want   bool
	}{
		{name: "no push came", state: proven, first: nothing, second: found(4), then: WakePoll, want: true},
		{name: "the push came late", state: proven, first: nothing, second: found(4), then: WakePush},
		{name: "nothing was found", state: proven, first: nothing, second: nothing, then: WakePoll},
		{name: "nobody was armed when it was appended", state: proven, first: nothing, second: found(3), then: WakePoll},
		{name: "it waited behind a hole", state: proven, first: catchup.Batch{Push: true, Blocked: true}, second: found(4), then: WakePoll},
		{name: "a torrent has no push", state: listener.State{Mode: listener.Torrent, Proven: true}, first: nothing, second: found(4), then: WakePoll},
		{name: "the push is not proven", state: listener.State{Mode: listener.Quiet}, first: nothing, second: found(4), then: WakePoll},
		{name: "the trigger is off", state: proven, first: nothing, second: catchup.Batch{Events: found(4).Events}, then: WakePoll},
	} {
		synctest.Test(t, func(t *testing.T) {
			var p pushCheck
			assert.False(t, p.read(tc.first, WakePoll, tc.state), tc.name)
			assert.False(t, p.read(tc.second, WakePoll, tc.state), tc.name)
			time.Sleep(pushGrace)
			assert.Equal(t, tc.want, p.read(nothing, tc.then, tc.state), tc.name)
			assert.False(t, p.read(nothing, WakePoll, tc.state), "once")
		})
	}
}
