package report

import (
	_ "embed" // the statement
	"slices"
	"time"
)

// The conditions of a projection, of which it has one at a time.
const (
	// Running: it is to run, and a living worker owns partitions of it.
	Running = "running"

	// Unowned: it is to run, and nobody does: no living worker owns a partition of it. It is also the state of such a partition. What is kept
	// beside a projection may be so for long: nothing waits for it, and none of its partitions is missed.
	Unowned = "unowned"

	// Paused: an operator has paused it. It is also the state of its partitions that no living worker owns: none is missed.
	Paused = "paused"

	// Stopped: a worker has stopped it, at an event that failed or a condition that a person has to mend. No other takes it up by itself.
	Stopped = "stopped"

	// RetiredName: there is no such projection any more, and no worker makes it anew.
	RetiredName = "retired"
)

//go:embed sql/retired.sql
var retiredSQL string

// Retired is a name that a projection had until it was dropped, or renamed.
type Retired struct {
	Name       string    `json:"name"`
	RenamedTo  string    `json:"renamed_to,omitempty"` // "": it was dropped
	AgeSeconds float64   `json:"age_seconds"`
	RetiredAt  time.Time `json:"retired_at"` // by the clock of the database

	// Workers are the labels of living workers that have it in their program all the same, and have stopped it.
	Workers []string `json:"workers,omitempty"`
}

// Conditions are all conditions.
func Conditions() []string { return []string{Running, Unowned, Paused, Stopped, RetiredName} }

// Condition returns the condition of p. One that was paused when it was stopped is paused: it is wanted so.
func (p Projection) Condition() string {
	switch {
	case p.State == Paused:
		return Paused
	case p.Stopped:
		return Stopped
	case len(p.Partitions) > 0 && !slices.ContainsFunc(p.Partitions, func(one Partition) bool { return one.Instance != "" }):
		return Unowned
	}
	return Running
}

// Missed returns the number of partitions that no living worker owns although one should: 0 where the projection is paused or stopped.
func (p Projection) Missed() int {
	if c := p.Condition(); c == Paused || c == Stopped {
		return 0
	}
	return p.Unowned
}

// StateText returns State, and beside it that the projection is stopped too: for people.
func (p Projection) StateText() string {
	if p.Stopped && p.State != Stopped {
		return p.State + ", " + Stopped
	}
	return p.State
}

// IsRetired returns what has become of a name; is is false if it is not retired.
func (r *Report) IsRetired(name string) (retired Retired, is bool) {
	i := slices.IndexFunc(r.Retired, func(one Retired) bool { return one.Name == name })
	if i < 0 {
		return Retired{}, false
	}
	return r.Retired[i], true
}
