package integration_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/testdb"
)

// Two processes that were given one worker id: the later one works, the earlier one stands by and takes over.
func TestTwinsHandleEveryEventOnce(t *testing.T) {
	t.Parallel()
	s := newStage(t, testdb.New(t))
	twin := func(label string) *running {
		return s.start(s.pool(s.URL), rouse.Config{
			Projections: []rouse.Projection{batchRecorder{recorder{name: "batched", worker: label}}, recorder{name: "single", worker: label}},
			Label:       label, WorkerIndex: 0, TotalWorkers: 1, BatchSize: 20,
		})
	}
	load := s.startLoad(s.pool(s.URL), 4, 2*time.Millisecond)
	// seesWork waits until a twin has handled something of both, so that its successor finds it in the middle of its work.
	seesWork := func(label string) {
		s.eventually(patience, label+" to handle events of both projections",
			"select count(distinct projection) = 2 from seen where worker = $1", label)
	}
	first := twin("first").WaitStarted()
	load.more(t, 100)
	seesWork("first")
	second := twin("second").WaitStarted()
	first.WaitState("batched", rouse.StateStandby)
	first.WaitState("single", rouse.StateStandby)
	load.more(t, 100)
	seesWork("second")
	third := twin("third").WaitStarted() // and a third, so that the change of hands happens again under load
	second.WaitState("batched", rouse.StateStandby)
	second.WaitState("single", rouse.StateStandby)
	load.more(t, 100)
	seesWork("third")
	third.MustStop()
	testdb.Eventually(t, patience, "a twin to take over", func() (bool, error) {
		return second.Status().States["batched"] == rouse.StateLive || first.Status().States["batched"] == rouse.StateLive, nil
	})
	load.more(t, 50)
	load.stop()
	for _, projection := range []string{"batched", "single"} {
		s.exact(projection)
		require.EqualValues(t, 3, s.int("select count(distinct worker) from seen where projection = $1", projection),
			"all three have worked, or nothing was shown")
	}
}
