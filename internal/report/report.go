// Package report reads the state of all workers of a database out of the database itself, so that it also answers while
// none runs: the position and owner of every partition, the last heartbeat of each worker, and the open transactions
// that hold others back.
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
	// OpenFor is the minimum age of an open append that is reported.
	OpenFor = time.Second

	// statementTimeout bounds the whole of one Read.
	statementTimeout = 10 * time.Second
)

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

// Report is the state of a database's workers and projections at one moment.
type Report struct {
	// Head is the position of the last visible event, 0 if there is none.
	Head int64 `json:"head"`

	Projections []Projection `json:"projections"`
	Retired     []Retired    `json:"retired,omitempty"`
	Workers     []Worker     `json:"workers"`

	// OpenAppends are transactions that have appended and are open for OpenFor or longer, while events are committed behind
	// them. No worker can pass them, because they may still fill the hole that they have made.
	OpenAppends []OpenAppend `json:"open_appends"`

	// OldestSnapshot is what keeps dead rows from being cleaned up for longest; nil: nothing does, or this role may not see it, which
	// SeesSnapshots says of sessions of other roles. DeadCheckpoints counts those of projection_checkpoints, DeadWorkers those of
	// projection_workers, which every look at the members walks over.
	OldestSnapshot  *Snapshot `json:"oldest_snapshot,omitempty"`
	SeesSnapshots   bool      `json:"sees_snapshots"`
	DeadCheckpoints int64     `json:"dead_checkpoints"`
	DeadWorkers     int64     `json:"dead_workers"`
}

// Projection is one projection with its partitions.
type Projection struct {
	Name string `json:"name"`

	// State is running, paused or stopped. Stopped is true in the last, and beside paused where a worker has stopped the
	// projection and none has taken it up again.
	State   string `json:"state"`
	Stopped bool   `json:"stopped"`

	// LastError, ErrorPosition and ErrorAgeSeconds describe the cause of a stop; they are zero if there is none. Position 0: no
	// event was the cause.
	LastError       string   `json:"last_error,omitempty"`
	ErrorPosition   int64    `json:"error_position,omitempty"`
	ErrorAgeSeconds *float64 `json:"error_age_seconds,omitempty"`

	// Troubles are what keeps it from getting on in living workers, the oldest first.
	Troubles []Trouble `json:"troubles,omitempty"`

	// Reset is the request to start over that no worker has done yet; nil: there is none.
	Reset *Reset `json:"reset,omitempty"`

	// Version is that of its handler, and Build how far it is if it is built, or kept, beside another projection; nil: it is live.
	Version int    `json:"version"`
	Build   *Build `json:"build,omitempty"`

	// Retrying are the events of aggregates whose first one is tried again by itself, Parked those of aggregates that wait for people.
	Retrying Parked `json:"retrying"`
	Parked   Parked `json:"parked"`

	// Deferred are the events of aggregates whose first one waits for the time that its handler has named (rouse.NotBefore).
	Deferred Deferred `json:"deferred"`

	// LagEvents and LagSeconds are those of the partition that is furthest behind. Unowned counts partitions that
	// nobody owns, none of what is built or kept beside another one.
	LagEvents  int64   `json:"lag_events"`
	LagSeconds float64 `json:"lag_seconds"`
	Unowned    int     `json:"unowned"`

	// NobodyMayTake is the number of partitions that no living worker may take, because each has reached its
	// MaxPartitions or avoids them. 0 where no elastic worker runs the projection.
	NobodyMayTake int `json:"nobody_may_take"`

	Partitions []Partition `json:"partitions"`
}

// Reset is a request to start over: behind which position, how often it was tried and failed, and why.
type Reset struct {
	To    int64  `json:"to"`
	Tries int    `json:"tries"`
	Error string `json:"error"`
}

// Partition is the state of one partition.
type Partition struct {
	Partition  int   `json:"partition"`
	Checkpoint int64 `json:"checkpoint"`
	Epoch      int64 `json:"epoch"`

	// LagEvents is the number of positions that the last visible event is ahead of the checkpoint, LagSeconds the age
	// of the first event behind the checkpoint; 0 if there is none. Both are 0 where a living worker owns it and none of these
	// events is its own: the checkpoint of a partition without events follows later.
	LagEvents  int64   `json:"lag_events"`
	LagSeconds float64 `json:"lag_seconds"`

	// Owner is the label of the living worker that owns it and Instance its id; both are empty if there is none.
	Owner    string `json:"owner"`
	Instance string `json:"instance"`

	// State is the state of the projection in the owner: starting, standby, paused, catching-up, live, retrying or waiting;
	// without an owner it is Unowned, or paused or stopped if the projection was.
	State string `json:"state"`
}

// Worker is the row of one process, from its last heartbeat.
type Worker struct {
	Label    string `json:"label"`
	Instance string `json:"instance"`
	Host     string `json:"host"`
	PID      int    `json:"pid"`

	// Alive reports whether the worker counts as living. A worker that stops in order deletes its row; the row of a
	// dead one stays for a day.
	Alive bool `json:"alive"`

	// Assignment is static or elastic. Index and Total are a static worker's place.
	Assignment string `json:"assignment"`
	Index      *int   `json:"index"`
	Total      *int   `json:"total"`

	// MaxPartitions is the maximum number of partitions of one projection that it takes; nil: any number. Leaving
	// reports whether it is stopping.
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

	// Troubles are what keeps projections from getting on in this worker, by projection. One that gets on is not in it.
	Troubles map[string]Trouble `json:"troubles,omitempty"`

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

// Read returns the report, read in one snapshot. The schema must be there; see migrations.Check.
func Read(ctx context.Context, pool *pgxpool.Pool) (Report, error) { return ReadIn(ctx, pool, "") }

// ReadIn is Read for the tables in a schema. "": search_path finds them.
func ReadIn(ctx context.Context, pool *pgxpool.Pool, schema string) (Report, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	var r Report
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pgx.BeginTxFunc(ctx, pool, options, func(tx pgx.Tx) (err error) {
		if schema != "" {
			if _, err := tx.Exec(ctx, "select set_config('search_path', $1, true)", pgx.Identifier{schema}.Sanitize()); err != nil {
				return err
			}
		}
		if err := tx.QueryRow(ctx, headSQL).Scan(&r.Head); err != nil {
			return err
		}
		if r.Workers, err = collect(ctx, tx, scanWorker, workersSQL); err != nil {
			return err
		}
		if r.Projections, err = collect(ctx, tx, scanProjection, projectionsSQL); err != nil {
			return err
		}
		if r.Retired, err = collect(ctx, tx, pgx.RowToStructByPos[Retired], retiredSQL); err != nil {
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
		if r.OpenAppends, err = collect(ctx, tx, scanOpenAppend, openAppendsSQL, OpenFor.Seconds()); err != nil {
			return err
		}
		return r.readSnapshots(ctx, tx)
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

// assemble puts the partitions into their projections and sets their owners.
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
			if pp.idle {
				p.LagEvents, p.LagSeconds = 0, 0 // its checkpoint will follow, and nothing waits for that
			}
			if p.State = owner.States[pp.projection]; p.State == "" {
				p.State = "starting"
			}
		case projection.Stopped:
			projection.Unowned++
			p.State = "stopped"
		case projection.State == Paused:
			projection.Unowned++
			p.State = Paused
		default:
			if projection.Build == nil { // what is kept beside one may have no worker, and nothing waits for it
				projection.Unowned++
			}
			p.State = Unowned
		}
		projection.LagEvents = max(projection.LagEvents, p.LagEvents)
		projection.LagSeconds = max(projection.LagSeconds, p.LagSeconds)
		projection.Partitions = append(projection.Partitions, p)
	}
	for i := range r.Projections {
		r.Projections[i].NobodyMayTake = r.nobodyMayTake(r.Projections[i])
		r.Projections[i].Troubles = r.troubles(r.Projections[i].Name)
		r.Projections[i].setBuild(r.Head)
	}
}

// nobodyMayTake returns the number of partitions of p to which the plan of its elastic workers assigns no owner.
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

// scanWorker reads one row of workers.sql.
func scanWorker(row pgx.CollectableRow) (Worker, error) {
	var w Worker
	var states, avoids, troubles string
	var now time.Time
	err := row.Scan(&w.Instance, &w.Label, &w.Assignment, &w.Index, &w.Total, &w.Host, &w.PID, &w.Mode, &states,
		&w.EventsHandled, &w.EventsPerSecond, &w.LastWakeAgeSeconds, &w.HeartbeatAgeSeconds, &w.UptimeSeconds, &w.Alive,
		&w.MaxPartitions, &w.Leaving, &avoids, &troubles, &now)
	if err != nil {
		return Worker{}, err
	}
	// States that cannot be read are another binary's, and no reason to report nothing at all.
	if json.Unmarshal([]byte(states), &w.States) != nil || w.States == nil {
		w.States = map[string]string{}
	}
	_ = json.Unmarshal([]byte(avoids), &w.avoids)
	w.setTroubles(troubles, now)
	return w, nil
}

// scanProjection reads one row of projections.sql.
func scanProjection(row pgx.CollectableRow) (Projection, error) {
	p := Projection{Partitions: []Partition{}}
	var count int
	var position, resetTo *int64
	var reset Reset
	var of *string
	var build Build
	err := row.Scan(&p.Name, &count, &p.State, &p.LastError, &position, &p.ErrorAgeSeconds, &p.Stopped, &resetTo, &reset.Tries, &reset.Error,
		&p.Version, &of, &build.From, &build.Trouble, &build.seconds)
	if of != nil {
		build.Of = *of
		p.Build = &build
	}
	if resetTo != nil {
		reset.To = *resetTo
		p.Reset = &reset
	}
	if position != nil {
		p.ErrorPosition = *position
	}
	return p, err
}

// projectionPartition is one row of partitions.sql.
type projectionPartition struct {
	Partition
	projection, owner string
	idle              bool // none of the events behind the checkpoint is its own
}

// scanPartition reads one row of partitions.sql.
func scanPartition(row pgx.CollectableRow) (projectionPartition, error) {
	var p projectionPartition
	var owner *string
	err := row.Scan(&p.projection, &p.Partition.Partition, &p.Checkpoint, &p.Epoch, &owner, &p.LagEvents, &p.LagSeconds, &p.idle)
	if owner != nil {
		p.owner = *owner
	}
	return p, err
}

// scanOpenAppend reads one row of open_appends.sql.
func scanOpenAppend(row pgx.CollectableRow) (OpenAppend, error) {
	var a OpenAppend
	var pid *int
	err := row.Scan(&pid, &a.Application, &a.Role, &a.State, &a.Prepared, &a.AgeSeconds, &a.HoldsAfter)
	if pid != nil {
		a.PID = *pid
	}
	return a, err
}
