package main

import (
	"slices"
	"time"
)

// stage is one step of the walk: what is done to a worker, and what it should lead to.
type stage struct {
	worker int
	what   string  // what happens to the worker
	weight float64 // of its length, among all stages
	act    func(f *fleet, worker int) error

	// shares tells that the events that are handled in the stage are to be shared evenly, and by whom they are is measured.
	shares bool

	// takeover is within what time others should go on with the partitions of the worker; 0: nobody has to.
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
	// demoLeaseTTL is how long the workers of a demo believe a silent one to be alive.
	demoLeaseTTL = 2 * time.Second

	// killTakeover and frozenTakeover are within what time others should go on with the partitions of a worker.
	killTakeover   = time.Second
	frozenTakeover = demoLeaseTTL + time.Second

	// shareTolerance is how many points a share may be off before it is called so.
	shareTolerance = 15.0
)

// stagesOf is the walk for a number of workers: they join one after the other, one is killed and comes back, one leaves and
// comes back, one is frozen and goes on.
func stagesOf(workers int) []stage {
	var all []stage
	for i := range workers {
		s := stage{worker: i, what: whatJoins, weight: 1, act: (*fleet).startWorker, shares: true}
		if i == 0 {
			s.what = whatStarts
		}
		all = append(all, s)
	}
	all = append(all, killStages(1%workers, workers)...)
	if workers == 1 {
		return all
	}
	left, frozen := 2%workers, 3%workers
	all = append(all,
		stage{worker: left, what: whatLeaves, weight: 0.7, act: (*fleet).leave, shares: true},
		stage{worker: left, what: whatBack, weight: 0.3, act: (*fleet).startWorker},
	)
	if canFreeze {
		all = append(all,
			stage{worker: frozen, what: whatFrozen, weight: 0.7, act: (*fleet).freeze, takeover: frozenTakeover},
			stage{worker: frozen, what: whatThawed, weight: 0.5, act: (*fleet).thaw},
		)
	}
	return all
}

// killStages kill one worker and start it again.
func killStages(worker, workers int) []stage {
	kill := stage{worker: worker, what: whatKilled, weight: 0.5, act: (*fleet).kill}
	if workers > 1 {
		kill.takeover = killTakeover
	}
	return []stage{kill, {worker: worker, what: whatBack, weight: 0.5, act: (*fleet).startWorker}}
}

// lengthOf is how long a stage of weight 1 takes, for the walk to take so long in all.
func lengthOf(stages []stage, all time.Duration) time.Duration {
	var weight float64
	for _, s := range stages {
		weight += s.weight
	}
	return time.Duration(float64(all) / weight)
}

// stageResult is what was seen in a stage. Its names in JSON are a promise to scripts.
type stageResult struct {
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

	// PlannedSeconds is how long after the beginning of the stage the partitions were as expected; null: not in time.
	PlannedSeconds *float64 `json:"planned_seconds"`

	// TakeoverSeconds is how long after the beginning of the stage another worker handled the first event of the partitions of
	// this one, and TakeoverLimit within what time it should; null: nobody had to, or there was no such event.
	TakeoverSeconds *float64 `json:"takeover_seconds"`
	TakeoverLimit   *float64 `json:"takeover_limit_seconds"`

	// Complete tells whether everything came about in time, AsExpected whether it also was as good as expected.
	Complete   bool `json:"complete"`
	AsExpected bool `json:"as_expected"`
}

// sharesOff tells whether a share is further from what was expected than chance would have it.
func (r stageResult) sharesOff() bool {
	return r.ExpectedPercent != nil && slices.ContainsFunc(r.SharesPercent, func(share float64) bool {
		return share < *r.ExpectedPercent-shareTolerance || share > *r.ExpectedPercent+shareTolerance
	})
}

// late tells whether a takeover took longer than it should.
func (r stageResult) late() bool {
	return r.TakeoverSeconds != nil && r.TakeoverLimit != nil && *r.TakeoverSeconds > *r.TakeoverLimit
}

// fairShares is how many partitions each of some workers should have, most first.
func fairShares(partitions, workers int) []int {
	shares := make([]int, workers)
	for i := range partitions {
		if workers > 0 {
			shares[i%workers]++
		}
	}
	return shares
}
