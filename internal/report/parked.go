package report

import (
	_ "embed" // the statement

	"github.com/jackc/pgx/v5"
)

//go:embed sql/parked.sql
var parkedSQL string

// Parked counts events of a projection that were set aside.
type Parked struct {
	// Events counts the events that failed and those that wait behind them, Aggregates their aggregates.
	Events     int64 `json:"events"`
	Aggregates int64 `json:"aggregates"`

	// OldestAgeSeconds is how long ago the first of them was set aside; nil: there is none. Position is that of the first event of
	// its aggregate, and Error how its last try ended.
	OldestAgeSeconds *float64 `json:"oldest_age_seconds"`
	Position         int64    `json:"position,omitempty"`
	Error            string   `json:"error,omitempty"`
}

// Deferred counts events of a projection that wait for the time that its handler has named. They have not failed.
type Deferred struct {
	// Events counts them and those that wait behind them, Aggregates their aggregates.
	Events     int64 `json:"events"`
	Aggregates int64 `json:"aggregates"`

	// NextSeconds is how long it is until the first of them is due, negative once it is; nil: there is none. Position is that of this event.
	NextSeconds *float64 `json:"next_seconds"`
	Position    int64    `json:"position,omitempty"`
}

// projectionParked is one row of parked.sql.
type projectionParked struct {
	Parked
	projection string
	stand      string // parked, retrying or deferred
	next       *float64
}

// scanParked reads one row of parked.sql.
func scanParked(row pgx.CollectableRow) (projectionParked, error) {
	var p projectionParked
	err := row.Scan(&p.projection, &p.stand, &p.Events, &p.Aggregates, &p.OldestAgeSeconds, &p.next, &p.Position, &p.Error)
	return p, err
}

// setParked sets the parked, retrying and deferred events of the projections.
func (r *Report) setParked(parked []projectionParked) {
	for _, p := range parked {
		for i := range r.Projections {
			switch {
			case r.Projections[i].Name != p.projection:
			case p.stand == "deferred":
				r.Projections[i].Deferred = Deferred{Events: p.Events, Aggregates: p.Aggregates, NextSeconds: p.next, Position: p.Position}
			case p.stand == "retrying":
				r.Projections[i].Retrying = p.Parked
			default:
				r.Projections[i].Parked = p.Parked
			}
		}
	}
}
