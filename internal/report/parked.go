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

// projectionParked is one row of parked.sql.
type projectionParked struct {
	Parked
	projection string
	retrying   bool
}

// scanParked reads one row of parked.sql.
func scanParked(row pgx.CollectableRow) (projectionParked, error) {
	var p projectionParked
	err := row.Scan(&p.projection, &p.retrying, &p.Events, &p.Aggregates, &p.OldestAgeSeconds, &p.Position, &p.Error)
	return p, err
}

// setParked sets the parked and retrying events of the projections.
func (r *Report) setParked(parked []projectionParked) {
	for _, p := range parked {
		for i := range r.Projections {
			switch {
			case r.Projections[i].Name != p.projection:
			case p.retrying:
				r.Projections[i].Retrying = p.Parked
			default:
				r.Projections[i].Parked = p.Parked
			}
		}
	}
}
