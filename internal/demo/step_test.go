package demo

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/rouse-es/rouse/internal/process"
)

func TestWalkOfEachNumberOfWorkers(t *testing.T) {
	t.Parallel()
	for workers := 1; workers <= MaxWorkers; workers++ {
		steps := stepsOf(workers)
		var kills, joins int
		var total float64
		away := map[int]bool{}
		for i, s := range steps {
			total += s.weight
			switch s.what {
			case whatStarts, whatJoins:
				assert.Equal(t, joins, s.worker, "one after the other")
				joins++
			case whatKilled, whatLeaves, whatFrozen:
				assert.Empty(t, away, "one at a time")
				away[s.worker] = true
				assert.Less(t, i, len(steps)-1)
			default:
				assert.True(t, away[s.worker])
				delete(away, s.worker)
			}
			if s.what == whatKilled {
				kills++
				assert.Equal(t, workers > 1, s.takeover > 0, "there is nobody to take over from a worker alone")
			}
		}
		assert.Equal(t, workers, joins)
		assert.Equal(t, 1, kills)
		assert.Empty(t, away, "everybody comes back")
		assert.InDelta(t, time.Minute.Seconds(), total*lengthOf(steps, time.Minute).Seconds(), 0.001)
	}
}

func TestPlannedMeansFairSharesOfThoseWhoAreThere(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		owners  []string
		workers []string
		want    bool
	}{
		{"before the first worker", nil, []string{"a"}, false},
		{"one has all", []string{"a", "a", "a", "a", "a"}, []string{"a"}, true},
		{"one has nothing yet", []string{"a", "a", "a", "a", "a"}, []string{"a", "b"}, false},
		{"shares differ by one", []string{"a", "a", "a", "b", "b"}, []string{"b", "a"}, true},
		{"shares differ by more", []string{"a", "a", "a", "a", "b"}, []string{"a", "b"}, false},
		{"one partition is nobody's", []string{"a", "a", "", "b", "b"}, []string{"a", "b"}, false},
		{"one partition is still another's", []string{"a", "a", "c", "b", "b"}, []string{"a", "b"}, false},
		{"nobody is there", []string{"", ""}, nil, true},
		{"nobody is there and one has something", []string{"", "a"}, nil, false},
	} {
		assert.Equal(t, tc.want, planned(Standing{Owners: tc.owners}, tc.workers), tc.name)
	}
	assert.Equal(t, []int{11, 11, 10}, FairShares(32, 3))
}

func TestStepSaysWhatWasNotAsExpected(t *testing.T) {
	t.Parallel()
	at := func(s float64) *float64 { return &s }
	right := StepResult{
		Workers: 2, ExpectedPercent: at(50), SharesPercent: []float64{64.9, 35.1}, ExpectedPartitions: []int{16, 16},
		Partitions: []int{16, 16}, PlannedSeconds: at(0.25), Complete: true,
	}
	assert.Equal(t, "16/16, 50 %", right.expected())
	assert.Equal(t, "16/16 after 0.25 s, 65/35 %", right.seen())

	off := right
	off.SharesPercent = []float64{65.1, 34.9}
	assert.Equal(t, "16/16 after 0.25 s, 65/35 % (off)", off.seen())

	unplanned := right
	unplanned.PlannedSeconds, unplanned.Partitions = nil, []int{20, 12}
	assert.Contains(t, unplanned.seen(), "20/12, not as planned")
	assert.Equal(t, "the partitions were not as planned", unplanned.lacks())

	killed := StepResult{Workers: 1, ExpectedPartitions: []int{32}, Partitions: []int{32}, PlannedSeconds: at(0.1), TakeoverLimit: at(1), TakeoverSeconds: at(0.2), Complete: true}
	assert.Equal(t, "32, taken over in 1 s", killed.expected())
	assert.Equal(t, "32 after 0.1 s, taken over in 0.2 s", killed.seen())
	killed.TakeoverSeconds = at(1.5)
	assert.Equal(t, "32 after 0.1 s, taken over in 1.5 s (late)", killed.seen())
	killed.TakeoverSeconds = nil
	assert.Equal(t, "32 after 0.1 s, no event came for it", killed.seen())
	killed.Complete = false
	assert.Equal(t, "32 after 0.1 s, not taken over", killed.seen())
	assert.Equal(t, "nobody took over", killed.lacks())

	alone := StepResult{ExpectedPartitions: []int{}, Partitions: []int{}, PlannedSeconds: at(0.1), Complete: true}
	assert.Equal(t, "unowned", alone.expected())
	assert.Equal(t, "unowned after 0.1 s", alone.seen())

	many := StepResult{Workers: 8, ExpectedPartitions: []int{5, 5, 5, 5, 4, 4, 4}, Partitions: []int{5, 5, 5, 5, 4, 4, 4}, PlannedSeconds: at(1)}
	assert.Equal(t, "4 to 5 after 1 s", many.seen())
	assert.Equal(t, "4 each", counts(FairShares(32, 8)))
	assert.Equal(t, "12 to 16 %", percents([]float64{14, 14, 12, 16, 14, 15, 15}))
}

func TestShareOfWhatIsNew(t *testing.T) {
	t.Parallel()
	f := Frame{Handled: 1300, Workers: []WorkerFrame{{Label: "a", Handled: 1100}, {Label: "b", Handled: 200}}}
	f.share(Sample{Handled: map[string]int64{"a": 1000, "b": 100}})
	assert.InDelta(t, 50, f.Workers[0].SharePercent, 0.001)
	assert.InDelta(t, 50, f.Workers[1].SharePercent, 0.001)
	nothing := Frame{Handled: 10, Workers: []WorkerFrame{{Label: "a", Handled: 10}}}
	nothing.share(Sample{Handled: map[string]int64{"a": 10}})
	assert.Zero(t, nothing.Workers[0].SharePercent)
}

func TestSharesReachBackTwoSeconds(t *testing.T) {
	t.Parallel()
	var w window
	began := time.Now()
	var got []int64
	for i := range 100 { // every 50 ms, as while the rest is handled
		got = append(got, w.since(Sample{Appended: int64(i)}, began.Add(time.Duration(i)*pollEvery)).Appended)
	}
	assert.EqualValues(t, 0, got[39])
	assert.EqualValues(t, 1, got[41])
	assert.EqualValues(t, 59, got[99])
}

func TestSentenceOfAChildThatFailed(t *testing.T) {
	t.Parallel()
	var output process.Lines
	assert.Equal(t, "it said nothing", sentence(&output))
	_, _ = fmt.Fprint(&output, "line\nrouse: the end")
	assert.Equal(t, "the end", sentence(&output))
}
