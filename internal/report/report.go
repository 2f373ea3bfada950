// Package report reads what all workers of a database are doing out of the database itself, so that it also answers while
// none runs: where every partition stands and who owns it, what each worker last said of itself, and which open
// transactions hold others back.
package report

import (
	"context"
	_ "embed" // the statements
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/partition"
)

const (
	// OpenFor is how long an append has to be open to be reported.
	OpenFor = time.Second

	statementTimeout = 10 * time.Second
)

// Unowned is the state of a partition that no living worker owns.
const Unowned = "unowned"

var (
	//go:embed sql/head.sql
	headSQL string
	//go:embed sql/workers.sql
	workersSQL string
	//go:embed sql/projections.sql
	projectionsSQL string
	//go:embed sql/partitions.sql
	partitionsSQL string
	//go:embed sql/open_appends.sql
	openAppendsSQL string
)

// Report is the state of things at one moment.
type Report struct {
	// Head is the position of the last visible event, 0 if there is none.
	Head int64 `json:"head"`

	Projections []Projection `json:"projections"`
	Workers     []Worker     `json:"workers"`

	// OpenAppends are transactions that have appended and are open for OpenFor or longer, while events are committed behind
	// them. No worker can pass them, because they may still fill the hole that they have made.
	OpenAppends []OpenAppend `json:"open_appends"`
}

// Projection is one projection with its partitions.
type Projection struct {
	Name  string `json:"name"`
	State string `json:"state"` // running, paused or stopped

	// LastError, ErrorPosition and ErrorAgeSeconds say why it last stopped. Position 0: not because of an event.
	LastError       string   `json:"last_error,omitempty"`
	ErrorPosition   int64    `json:"error_position,omitempty"`
	ErrorAgeSeconds *float64 `json:"error_age_seconds,omitempty"`

	Parked Parked `json:"parked"`

	// LagEvents and LagSeconds are those of the partition that is furthest behind. Unowned counts partitions.
	LagEvents  int64   `json:"lag_events"`
	LagSeconds float64 `json:"lag_seconds"`
	Unowned    int     `json:"unowned"`

	// NobodyMayTake is how many partitions no living worker may take, because each has reached its MaxPartitions or avoids
	// them. 0 where no elastic worker runs the projection.
	NobodyMayTake int `json:"nobody_may_take"`

	Partitions []Partition `json:"partitions"`
}

// Partition is where one partition stands.
type Partition struct {
	Partition  int   `json:"partition"`
	Checkpoint int64 `json:"checkpoint"`
	Epoch      int64 `json:"epoch"`

	// LagEvents is how many positions the last visible event is ahead of the checkpoint, LagSeconds how old the first event
	// behind it is.
	LagEvents  int64   `json:"lag_events"`
	LagSeconds float64 `json:"lag_seconds"`

	// Owner is the label of the living worker that owns it and Instance its id; both are empty if there is none.
	Owner    string `json:"owner"`
	Instance string `json:"instance"`

	// State is what the owner does with the projection: starting, catching-up, live, retrying; without an owner it is
	// Unowned, or stopped if the projection was stopped by an event.
	State string `json:"state"`
}

// Worker is what one process said of itself in its last heartbeat.
type Worker struct {
	Label    string `json:"label"`
	Instance string `json:"instance"`
	Host     string `json:"host"`
	PID      int    `json:"pid"`

	// Alive tells whether it counts as living. A worker that stops in order takes its row away; a dead one's row stays for a
	// day.
	Alive bool `json:"alive"`

	// Assignment is static or elastic. Index and Total are a static worker's place.
	Assignment string `json:"assignment"`
	Index      *int   `json:"index"`
	Total      *int   `json:"total"`

	// MaxPartitions is the most partitions of one projection that it takes; nil: any number. Leaving tells that it is stopping.
	MaxPartitions *int `json:"max_partitions"`
	Leaving       bool `json:"leaving"`

	EventsHandled   int64             `json:"events_handled"`
	EventsPerSecond float64           `json:"events_per_second"`
	Mode            string            `json:"mode"`   // quiet, torrent, polling or deaf
	States          map[string]string `json:"states"` // by projection

	// LastWakeAgeSeconds is how long ago an append last woke it; nil: never.
	LastWakeAgeSeconds  *float64 `json:"last_wake_age_seconds"`
	HeartbeatAgeSeconds float64  `json:"heartbeat_age_seconds"`
	UptimeSeconds       float64  `json:"uptime_seconds"`

	avoids map[string][]int // by projection: partitions that it cannot take
}

// OpenAppend is a transaction that has appended and is still open.
type OpenAppend struct {
	// PID is the server process of its session, 0 for a prepared transaction, whose name is in Prepared.
	PID         int    `json:"pid"`
	Application string `json:"application"`
	Role        string `json:"role"`
	State       string `json:"state"`
	Prepared    string `json:"prepared"`

	// AgeSeconds is how long it has been open; nil if this role may not see that.
	AgeSeconds *float64 `json:"age_seconds"`

	// HoldsAfter is the last position that it does not hold back.
	HoldsAfter int64 `json:"holds_after"`
}

// Read reads the report, in one snapshot. The schema must be there; see migrations.Check.
func Read(ctx context.Context, pool *pgxpool.Pool) (Report, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	var r Report
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pgx.BeginTxFunc(ctx, pool, options, func(tx pgx.Tx) (err error) {
		if err := tx.QueryRow(ctx, headSQL).Scan(&r.Head); err != nil {
			return err
		}
		if r.Workers, err = collect(ctx, tx, scanWorker, workersSQL); err != nil {
			return err
		}
		if r.Projections, err = collect(ctx, tx, scanProjection, projectionsSQL); err != nil {
			return err
		}
		partitions, err := collect(ctx, tx, scanPartition, partitionsSQL)
		if err != nil {
			return err
		}
		r.assemble(partitions)
		parked, err := collect(ctx, tx, scanParked, parkedSQL)
		if err != nil {
			return err
		}
		r.setParked(parked)
		r.OpenAppends, err = collect(ctx, tx, scanOpenAppend, openAppendsSQL, OpenFor.Seconds())
		return err
	})
	if err != nil {
		return Report{}, fmt.Errorf("report: read the state of the workers: %w", err)
	}
	return r, nil
}

// collect returns the rows of a query, as an empty slice and not nil where there are none.
func collect[T any](ctx context.Context, tx pgx.Tx, scan pgx.RowToFunc[T], sql string, args ...any) ([]T, error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.AppendRows([]T{}, rows, scan)
}

// assemble puts the partitions into their projections and says who owns them.
func (r *Report) assemble(partitions []projectionPartition) {
	owners := map[string]*Worker{}
	for i := range r.Workers {
		if r.Workers[i].Alive {
			owners[r.Workers[i].Instance] = &r.Workers[i]
		}
	}
	at := map[string]*Projection{}
	for i := range r.Projections {
		at[r.Projections[i].Name] = &r.Projections[i]
	}
	for _, pp := range partitions {
		p, projection := pp.Partition, at[pp.projection]
		switch owner := owners[pp.owner]; {
		case owner != nil:
			p.Owner, p.Instance = owner.Label, owner.Instance
			if p.State = owner.States[pp.projection]; p.State == "" {
				p.State = "starting"
			}
		case projection.State == "stopped":
			projection.Unowned++
			p.State = projection.State
		default:
			projection.Unowned++
			p.State = Unowned
		}
		projection.LagEvents = max(projection.LagEvents, p.LagEvents)
		projection.LagSeconds = max(projection.LagSeconds, p.LagSeconds)
		projection.Partitions = append(projection.Partitions, p)
	}
	for i := range r.Projections {
		r.Projections[i].NobodyMayTake = r.nobodyMayTake(r.Projections[i])
	}
}

// nobodyMayTake counts the partitions of a projection for which the plan of its elastic workers has nobody.
func (r *Report) nobodyMayTake(p Projection) int {
	owners := make([]string, len(p.Partitions))
	for i := range p.Partitions {
		owners[i] = p.Partitions[i].Instance
	}
	var candidates []partition.Candidate
	for _, w := range r.Workers {
		if _, runs := w.States[p.Name]; !runs || !w.Alive || w.Leaving || w.Assignment != "elastic" {
			continue
		}
		candidate := partition.Candidate{Instance: w.Instance, Avoids: w.avoids[p.Name]}
		if w.MaxPartitions != nil {
			candidate.Max = *w.MaxPartitions
		}
		candidates = append(candidates, candidate)
	}
	if len(candidates) == 0 {
		return 0
	}
	nobody := 0
	for _, target := range partition.Assign(owners, candidates) {
		if target == "" {
			nobody++
		}
	}
	return nobody
}

func scanWorker(row pgx.CollectableRow) (Worker, error) {
	var w Worker
	var states, avoids string
	err := row.Scan(&w.Instance, &w.Label, &w.Assignment, &w.Index, &w.Total, &w.Host, &w.PID, &w.Mode, &states,
		&w.EventsHandled, &w.EventsPerSecond, &w.LastWakeAgeSeconds, &w.HeartbeatAgeSeconds, &w.UptimeSeconds, &w.Alive,
		&w.MaxPartitions, &w.Leaving, &avoids)
	if err != nil {
		return Worker{}, err
	}
	// What cannot be read as states is another binary's and no reason to show nothing at all.
	if json.Unmarshal([]byte(states), &w.States) != nil || w.States == nil {
		w.States = map[string]string{}
	}
	_ = json.Unmarshal([]byte(avoids), &w.avoids)
	return w, nil
}

func scanProjection(row pgx.CollectableRow) (Projection, error) {
	p := Projection{Partitions: []Partition{}}
	var count int
	var position *int64
	err := row.Scan(&p.Name, &count, &p.State, &p.LastError, &position, &p.ErrorAgeSeconds)
	if position != nil {
		p.ErrorPosition = *position
	}
	return p, err
}

type projectionPartition struct {
	Partition
	projection, owner string
}

func scanPartition(row pgx.CollectableRow) (projectionPartition, error) {
	var p projectionPartition
	var owner *string
	err := row.Scan(&p.projection, &p.Partition.Partition, &p.Checkpoint, &p.Epoch, &owner, &p.LagEvents, &p.LagSeconds)
	if owner != nil {
		p.owner = *owner
	}
	return p, err
}

func scanOpenAppend(row pgx.CollectableRow) (OpenAppend, error) {
	var a OpenAppend
	var pid *int
	err := row.Scan(&pid, &a.Application, &a.Role, &a.State, &a.Prepared, &a.AgeSeconds, &a.HoldsAfter)
	if pid != nil {
		a.PID = *pid
	}
	return a, err
}
