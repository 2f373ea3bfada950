package projection

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/internal/report"
)

// Listed is a projection or effect as List returns it.
type Listed struct {
	Name       string `json:"name"`
	Partitions int    `json:"partitions"`

	// Unowned counts the partitions that no living worker owns.
	Unowned int `json:"unowned"`

	// State is running, paused, or stopped by an event that failed. Stopped is true in the last, and beside paused where the
	// projection was stopped before, and no worker has taken it up again.
	State   string `json:"state"`
	Stopped bool   `json:"stopped"`

	// LagEvents is how many positions the last visible event is ahead of the checkpoint, and LagSeconds the age of the first
	// event behind the checkpoint, both of the partition that is furthest behind.
	LagEvents  int64   `json:"lag_events"`
	LagSeconds float64 `json:"lag_seconds"`

	// Trouble is what keeps it from getting on, and TroubleSeconds for how long it has, both of
	// the living worker in which that has lasted longest. "": it gets on everywhere.
	Trouble        string  `json:"trouble,omitempty"`
	TroubleSeconds float64 `json:"trouble_seconds,omitempty"`
}

// List returns every projection and effect that has ever run here, in the order of their names.
func List(ctx context.Context, pool *pgxpool.Pool) ([]Listed, error) {
	r, err := report.Read(ctx, pool)
	if err != nil {
		return nil, fmt.Errorf("projection: list: %w", err)
	}
	list := make([]Listed, 0, len(r.Projections))
	for _, p := range r.Projections {
		listed := Listed{
			Name: p.Name, Partitions: len(p.Partitions), Unowned: p.Unowned, State: p.State, Stopped: p.Stopped, LagEvents: p.LagEvents, LagSeconds: p.LagSeconds,
		}
		if len(p.Troubles) > 0 {
			listed.Trouble, listed.TroubleSeconds = p.Troubles[0].Text, p.Troubles[0].AgeSeconds
		}
		list = append(list, listed)
	}
	return list, nil
}
