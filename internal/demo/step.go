package demo

import (
	"slices"
	"time"

	"github.com/rouse-es/rouse/internal/process"
)

// step is one part of the walk: what is done to a worker, and what it should lead to.
type step struct {
	worker int
	what   string  // what happens to the worker
	weight float64 // of its length, among all steps
	act    func(f *fleet, worker int) error

	// shares asks for even shares of the events that are handled in the step, and has them measured.
	shares bool

	// takeover is the time within which other workers should go on with the partitions of this one; 0: none has to.
	takeover time.Duration
}

// What happens to a worker, as notes, table and JSON say it.
const (
	whatStarts = "starts"
	whatJoins  = "joins"
	whatKilled = "is killed"
	whatBack   = "is back"
	whatLeaves = "leaves"
	whatFrozen = "is frozen"
	whatThawed = "goes on"
)

const (
	// leaseTTL is how long the workers of a demo believe a silent one to be alive.
	leaseTTL = 2 * time.Second

	// killTakeover and frozenTakeover are within what time others should go on with the partitions of a worker.
	killTakeover   = time.Second
	frozenTakeover = leaseTTL + time.Second

	// shareTolerance is how many points a share may be off before it is called so.
	shareTolerance = 15.0
)

// stepsOf is the walk for a number of workers: they join one after the other, one is killed and comes back, one leaves and
// comes back, one is frozen and goes on.
func stepsOf(workers int) []step {
	var all []step
	for i := range workers {
		s := step{worker: i, what: whatJoins, weight: 1, act: (*fleet).startWorker, shares: true}
		if i == 0 {
			s.what = whatStarts
		}
		all = append(all, s)
	}
	all = append(all, killSteps(1%workers, workers)...)
	if workers == 1 {
		return all
	}
	left, frozen := 2%workers, 3%workers
	all = append(all,
		step{worker: left, what: whatLeaves, weight: 0.7, act: (*fleet).leave, shares: true},
		step{worker: left, what: whatBack, weight: 0.3, act: (*fleet).startWorker},
	)
	if process.CanFreeze {
		all = append(all,
			step{worker: frozen, what: whatFrozen, weight: 0.7, act: (*fleet).freeze, takeover: frozenTakeover},
			step{worker: frozen, what: whatThawed, weight: 0.5, act: (*fleet).thaw},
		)
	}
	return all
}

// killSteps kill one worker and start it again.
func killSteps(worker, workers int) []step {
	kill := step{worker: worker, what: whatKilled, weight: 0.5, act: (*fleet).kill}
	if workers > 1 {
		kill.takeover = killTakeover
	}
	return []step{kill, {worker: worker, what: whatBack, weight: 0.5, act: (*fleet).startWorker}}
}

// lengthOf is how long a step of weight 1 takes, for the walk to take so long in all.
func lengthOf(steps []step, all time.Duration) time.Duration {
	var weight float64
	for _, s := range steps {
		weight += s.weight
	}
	return time.Duration(float64(all) / weight)
}

// StepResult is what was seen in a step. Its names in JSON are a promise to scripts.
type StepResult struct {
	Worker  string `json:"worker"`
	What    string `json:"what"`    // starts, joins, is killed, is back, leaves, is frozen, goes on
	Workers int    `json:"workers"` // how many are at work from now on

	// ExpectedPercent is the expected share of each, Shares what each at work has handled of the new events, by number. They
	// are null where shares are not measured, or nothing was handled.
	ExpectedPercent *float64  `json:"expected_percent"`
	SharesPercent   []float64 `json:"shares_percent"`

	// ExpectedPartitions is how many partitions each should have, Partitions how many each had, most first.
	ExpectedPartitions []int `json:"expected_partitions"`
	Partitions         []int `json:"partitions"`

	// PlannedSeconds is how long after the beginning of the step the partitions were as expected; null: not in time.
	PlannedSeconds *float64 `json:"planned_seconds"`

	// TakeoverSeconds is how long after the beginning of the step another worker handled the first event of the partitions of
	// this one, and TakeoverLimit within what time it should; null: nobody had to, or there was no such event.
	TakeoverSeconds *float64 `json:"takeover_seconds"`
	TakeoverLimit   *float64 `json:"takeover_limit_seconds"`

	// Complete reports whether everything came about in time, AsExpected whether it also was as good as expected.
	Complete   bool `json:"complete"`
	AsExpected bool `json:"as_expected"`
}

// sharesOff reports whether a share is further from what was expected than chance would have it.
func (r StepResult) sharesOff() bool {
	return r.ExpectedPercent != nil && slices.ContainsFunc(r.SharesPercent, func(share float64) bool {
		return share < *r.ExpectedPercent-shareTolerance || share > *r.ExpectedPercent+shareTolerance
	})
}

// late reports whether a takeover took longer than it should.
func (r StepResult) late() bool {
	return r.TakeoverSeconds != nil && r.TakeoverLimit != nil && *r.TakeoverSeconds > *r.TakeoverLimit
}

// FairShares is how many partitions each of some workers should have, most first.
func FairShares(partitions, workers int) []int {
	shares := make([]int, workers)
	for i := range partitions {
		if workers > 0 {
			shares[i%workers]++
		}
	}
	return shares
}
