package dashboard

import (
	"github.com/rouse-es/rouse/internal/report"
)

// snapshot is what the page shows at one moment. Times that have passed are in seconds.
type snapshot struct {
	At int64 `json:"at"` // milliseconds since 1970

	// Error is why there is nothing else, and LastAt when there last was; 0: never.
	Error  string `json:"error,omitempty"`
	LastAt int64  `json:"last_at,omitempty"`

	Database string  `json:"database"`
	Head     int64   `json:"head"`
	Rate     float64 `json:"rate"` // positions a second that the head moves

	Projections []shownProjection   `json:"projections"`
	Workers     []worker            `json:"workers"` // the living
	Gone        []gone              `json:"gone"`
	Retired     []report.Retired    `json:"retired"`
	Open        []report.OpenAppend `json:"open"`
	Parked      []parkedEvent       `json:"parked"`
	Events      []event             `json:"events"`
}

type shownProjection struct {
	Name     string  `json:"name"`
	State    string  `json:"state"`
	Stopped  bool    `json:"stopped"` // also beside state paused
	Is       string  `json:"is"`      // running, unowned, paused or stopped
	Lag      int64   `json:"lag"`
	LagAge   float64 `json:"lag_age"`
	Unowned  int     `json:"unowned"`
	Nobody   int     `json:"nobody"`
	Parked   int64   `json:"parked"`
	ParkedOf int64   `json:"parked_of"` // aggregates
	Oldest   float64 `json:"oldest"`    // of the parked events

	Retrying   int64 `json:"retrying"`
	RetryingOf int64 `json:"retrying_of"` // aggregates
	DeferredOf int64 `json:"deferred_of"` // aggregates

	Error    string   `json:"error,omitempty"`
	ErrorAt  int64    `json:"error_at,omitempty"` // position
	ErrorAge *float64 `json:"error_age,omitempty"`

	Build *report.Build `json:"build,omitempty"` // how far what is built beside another projection is; nil: it is live

	// Troubles are what keeps it from getting on in living workers, the oldest first.
	Troubles []report.Trouble `json:"troubles,omitempty"`

	Latency    *percentiles `json:"latency"`
	Partitions []cell       `json:"partitions"`
}

// cell is one partition. Owner is the number of the living worker that owns it, -1 for nobody.
type cell struct {
	Owner      int    `json:"o"`
	Lag        int64  `json:"l"`
	Checkpoint int64  `json:"c"`
	Epoch      int64  `json:"e"`
	State      string `json:"s"`
}

type worker struct {
	Number     int               `json:"number"` // stays the same as long as it lives
	Label      string            `json:"label"`
	Instance   string            `json:"instance"`
	Host       string            `json:"host"`
	PID        int               `json:"pid"`
	Assignment string            `json:"assignment"`
	Index      *int              `json:"index"`
	Total      *int              `json:"total"`
	Max        *int              `json:"max"`
	Leaving    bool              `json:"leaving"`
	Mode       string            `json:"mode"`
	States     map[string]string `json:"states"`
	Handled    int64             `json:"handled"`
	Rate       float64           `json:"rate"`
	Heartbeat  float64           `json:"heartbeat"`
	Uptime     float64           `json:"uptime"`
	Partitions int               `json:"partitions"`
}

// gone is a worker that counts as dead. It has not taken leave.
type gone struct {
	Label     string  `json:"label"`
	Host      string  `json:"host"`
	PID       int     `json:"pid"`
	Heartbeat float64 `json:"heartbeat"`
}

// parkedEvent is the first event of an aggregate with events that were set aside.
type parkedEvent struct {
	Projection    string  `json:"projection"`
	Position      int64   `json:"position"`
	AggregateType string  `json:"aggregate_type"`
	AggregateID   string  `json:"aggregate_id"`
	Version       int64   `json:"version"`
	Type          string  `json:"type"`
	Attempts      int     `json:"attempts"`
	Error         string  `json:"error"`
	Age           float64 `json:"age"`

	// Next is how long it is until the next try; nil: it waits for people. Events is the number of the aggregate's events.
	Next   *float64 `json:"next"`
	Events int64    `json:"events"`

	// Deferred means that it has not failed: its handler wants it at Next and no earlier.
	Deferred bool `json:"deferred"`
}

type event struct {
	Position      int64   `json:"position"`
	AggregateType string  `json:"aggregate_type"`
	AggregateID   string  `json:"aggregate_id"`
	Version       int64   `json:"version"`
	Type          string  `json:"type"`
	Age           float64 `json:"age"`
}

// letters numbers the living workers, by instance. A number stays with its worker as long as it lives, so that a colour does; after
// that the next one gets it.
type letters map[string]int

// update gives numbers to those who have none.
func (l letters) update(workers []report.Worker) {
	alive, taken := map[string]bool{}, map[int]bool{}
	for _, w := range workers {
		if w.Alive {
			alive[w.Instance] = true
		}
	}
	for instance, number := range l {
		if !alive[instance] {
			delete(l, instance)
			continue
		}
		taken[number] = true
	}
	next := 0
	for _, w := range workers {
		if _, has := l[w.Instance]; has || !w.Alive {
			continue
		}
		for taken[next] {
			next++
		}
		l[w.Instance], taken[next] = next, true
	}
}

func (s *snapshot) setWorkers(r report.Report, l letters) {
	l.update(r.Workers)
	owned := map[string]int{}
	for _, p := range r.Projections {
		for _, part := range p.Partitions {
			owned[part.Instance]++
		}
	}
	s.Workers, s.Gone = []worker{}, []gone{}
	for _, w := range r.Workers {
		if !w.Alive {
			s.Gone = append(s.Gone, gone{Label: w.Label, Host: w.Host, PID: w.PID, Heartbeat: w.HeartbeatAgeSeconds})
			continue
		}
		s.Workers = append(s.Workers, worker{
			Number: l[w.Instance], Label: w.Label, Instance: w.Instance, Host: w.Host, PID: w.PID, Assignment: w.Assignment, Index: w.Index,
			Total: w.Total, Max: w.MaxPartitions, Leaving: w.Leaving, Mode: w.Mode, States: w.States, Handled: w.EventsHandled,
			Rate: w.EventsPerSecond, Heartbeat: w.HeartbeatAgeSeconds, Uptime: w.UptimeSeconds, Partitions: owned[w.Instance],
		})
	}
}

func (s *snapshot) setProjections(r report.Report, l letters, measured *latency) {
	s.Projections = []shownProjection{}
	s.Retired = append([]report.Retired{}, r.Retired...)
	for _, p := range r.Projections {
		shown := shownProjection{
			Name: p.Name, State: p.State, Stopped: p.Stopped, Is: p.Condition(), Lag: p.LagEvents, LagAge: p.LagSeconds, Unowned: p.Unowned, Nobody: p.NobodyMayTake,
			Parked: p.Parked.Events, ParkedOf: p.Parked.Aggregates, Retrying: p.Retrying.Events, RetryingOf: p.Retrying.Aggregates,
			DeferredOf: p.Deferred.Aggregates, Error: p.LastError, ErrorAt: p.ErrorPosition,
			ErrorAge: p.ErrorAgeSeconds, Troubles: p.Troubles, Build: p.Build, Latency: measured.of(p.Name), Partitions: []cell{},
		}
		if p.Parked.OldestAgeSeconds != nil {
			shown.Oldest = *p.Parked.OldestAgeSeconds
		}
		for _, part := range p.Partitions {
			c := cell{Owner: -1, Lag: part.LagEvents, Checkpoint: part.Checkpoint, Epoch: part.Epoch, State: part.State}
			if number, owned := l[part.Instance]; owned {
				c.Owner = number
			}
			shown.Partitions = append(shown.Partitions, c)
		}
		s.Projections = append(s.Projections, shown)
	}
}
