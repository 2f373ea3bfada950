package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/demo"
	"github.com/rouse-es/rouse/internal/scaling"
)

// Projection is one that a program brings along for its workers.
type Projection struct {
	Name string

	// Make makes it for the label of a worker.
	Make func(label string) rouse.Projection

	// Ensure creates its table where it is missing. It is called before the worker starts, by any number of processes at once.
	Ensure func(ctx context.Context, pool *pgxpool.Pool) error

	// Table is its name.
	Table string
}

// builtIn returns the projections of rouse itself. The first is the one that runs if none is named.
func builtIn() []Projection {
	return []Projection{
		{scaling.Name, func(label string) rouse.Projection { return scaling.Projection{Label: label} }, scaling.Ensure, "scaling_activity"},
		{demo.Name, func(label string) rouse.Projection { return demo.Projection{Label: label} }, demo.Ensure, "demo_log"},
	}
}

// namesOf lists the names with a word between them.
func namesOf(projections []Projection, between string) string {
	var names []string
	for _, p := range projections {
		names = append(names, p.Name)
	}
	return strings.Join(names, between)
}

// projectionNamed finds a projection; an error is one of usage.
func projectionNamed(projections []Projection, name string) (Projection, error) {
	i := slices.IndexFunc(projections, func(p Projection) bool { return p.Name == name })
	if i < 0 {
		return Projection{}, usagef("there is no projection %q in this program, only %s (your own projections run in your own program, see package rouse)",
			name, namesOf(projections, " and "))
	}
	return projections[i], nil
}
