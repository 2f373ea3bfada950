package catchup

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/listener"
)

// TestPushCheck: a push is missed when a poll has found what it should have told, and it does not come late either.
func TestPushCheck(t *testing.T) {
	t.Parallel()
	proven := listener.State{Mode: listener.Quiet, Proven: true, ArmedHead: 3}
	found := func(position int64) Batch {
		return Batch{Push: true, Events: []eventstore.Event{{GlobalPosition: position}}}
	}
	nothing := Batch{Push: true}
	for _, tc := range []struct {
		name   string
		state  listener.State
		first  Batch  // read before
		second Batch  // found by a poll
		then   string // what led to the next read
		want   bool
	}{
		{name: "no push came", state: proven, first: nothing, second: found(4), then: WakePoll, want: true},
		{name: "the push came late", state: proven, first: nothing, second: found(4), then: WakePush},
		{name: "nothing was found", state: proven, first: nothing, second: nothing, then: WakePoll},
		{name: "nobody was armed when it was appended", state: proven, first: nothing, second: found(3), then: WakePoll},
		{name: "it waited behind a hole", state: proven, first: Batch{Push: true, Blocked: true}, second: found(4), then: WakePoll},
		{name: "a torrent has no push", state: listener.State{Mode: listener.Torrent, Proven: true}, first: nothing, second: found(4), then: WakePoll},
		{name: "the push is not proven", state: listener.State{Mode: listener.Quiet}, first: nothing, second: found(4), then: WakePoll},
		{name: "the trigger is off", state: proven, first: nothing, second: Batch{Events: found(4).Events}, then: WakePoll},
	} {
		synctest.Test(t, func(t *testing.T) {
			var p pushCheck
			assert.False(t, p.noteRead(tc.first, WakePoll, tc.state), tc.name)
			assert.False(t, p.noteRead(tc.second, WakePoll, tc.state), tc.name)
			time.Sleep(pushGrace)
			assert.Equal(t, tc.want, p.noteRead(nothing, tc.then, tc.state), tc.name)
			assert.False(t, p.noteRead(nothing, WakePoll, tc.state), "once")
		})
	}
}
