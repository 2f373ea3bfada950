package report

import (
	_ "embed" // the statement

	"github.com/jackc/pgx/v5"
)

//go:embed sql/parked.sql
var parkedSQL string

// Parked are the events of a projection that were set aside.
type Parked struct {
	// Events counts those that failed and those that wait behind them, Aggregates whose they are, and Due those that somebody
	// has asked to be handled again and that are not yet.
	Events     int64 `json:"events"`
	Aggregates int64 `json:"aggregates"`
	Due        int64 `json:"due"`

	// OldestAgeSeconds is how long ago the first of them was set aside; nil: there is none.
	OldestAgeSeconds *float64 `json:"oldest_age_seconds"`
}

type projectionParked struct {
	Parked
	projection string
}

func scanParked(row pgx.CollectableRow) (projectionParked, error) {
	var p projectionParked
	err := row.Scan(&p.projection, &p.Events, &p.Aggregates, &p.Due, &p.OldestAgeSeconds)
	return p, err
}

// setParked gives the projections their parked events.
func (r *Report) setParked(parked []projectionParked) {
	for _, p := range parked {
		for i := range r.Projections {
			if r.Projections[i].Name == p.projection {
				r.Projections[i].Parked = p.Parked
			}
		}
	}
}
