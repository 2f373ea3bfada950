package partition

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Execer is a connection, a pool or a transaction.
type Execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// Member is the row of a process in projection_workers.
type Member struct {
	Instance, Label string
	Static          bool
	Index, Total    int   // of a static worker
	Presence        int32 // 0: it holds no presence lock

	// PresencePIDs are the server's processes that hold the presence lock for this process. Others that share it do not count.
	// None: any holder counts.
	PresencePIDs []uint32
	Host         string
	PID          int

	// TTL is how old its heartbeat may be before it counts as dead, and how long it has to speak after a restart of the server.
	// Default: DefaultTTL.
	TTL time.Duration

	// Validity is how old this heartbeat may be, if that is more than TTL.
	Validity time.Duration

	// MaxPartitions is the maximum number of partitions of one projection that it takes. 0: any number.
	MaxPartitions int

	// Avoids are the partitions that it cannot take for now, by projection.
	Avoids map[string][]int

	// Leaving means that it is stopping.
	Leaving bool

	// Working means that one of its projections has work in hand, so that others look at once who dies.
	Working bool

	Mode            string            // quiet, torrent, polling or deaf
	States          map[string]string // by projection
	EventsHandled   int64
	EventsPerSecond float64
	LastWake        time.Time // zero: none yet

	// Troubles are what keeps projections from getting on in this process, by projection. One that gets on is not in it.
	Troubles map[string]Trouble

	// PushesMissed is how often a poll found events that the push had not told of.
	PushesMissed int64

	schema string // that holds the table; "": search_path finds it
}

// Trouble is what keeps a projection from getting on.
type Trouble struct {
	Text  string    `json:"text"`
	Since time.Time `json:"since"` // by the clock of the process
}

// DefaultTTL is how old a heartbeat may be before its worker counts as dead.
const DefaultTTL = 5 * time.Second

// Heartbeat writes the member's row, with the time of the database's clock.
func (m Member) Heartbeat(ctx context.Context, q Execer) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	args, err := m.args()
	if err == nil {
		_, err = q.Exec(ctx, sqlHeartbeat.In(m.schema), append(args, false)...)
	}
	if err != nil {
		return fmt.Errorf("partition: write the heartbeat: %w", err)
	}
	return nil
}

// args returns the parameters of heartbeat.sql up to the last one.
func (m Member) args() ([]any, error) {
	if m.States == nil {
		m.States = map[string]string{}
	}
	states, err := json.Marshal(m.States)
	if err != nil {
		return nil, fmt.Errorf("encode states: %w", err)
	}
	avoids, err := json.Marshal(m.Avoids)
	if err != nil || m.Avoids == nil {
		avoids = []byte("{}")
	}
	troubles, err := json.Marshal(m.Troubles)
	if err != nil || m.Troubles == nil {
		troubles = []byte("{}")
	}
	if m.TTL == 0 {
		m.TTL = DefaultTTL
	}
	var valid *int32
	if m.Validity > m.TTL {
		ms := int32(m.Validity.Milliseconds())
		valid = &ms
	}
	assignment := "elastic"
	var index, total *int32
	if m.Static {
		i, t := int32(m.Index), int32(m.Total)
		assignment, index, total = "static", &i, &t
	}
	var wake *time.Time
	if !m.LastWake.IsZero() {
		wake = &m.LastWake
	}
	return []any{m.Instance, m.Label, assignment, index, total, orNull(m.Presence), m.Host, int32(m.PID), m.Mode,
		string(states), m.EventsHandled, float32(m.EventsPerSecond), wake,
		int32(m.TTL.Milliseconds()), orNull(int32(m.MaxPartitions)), m.Leaving, string(avoids), pids(m.PresencePIDs), m.PushesMissed,
		string(troubles), m.Working, valid}, nil
}

// plannedBy returns what others plan by of the row, as one text.
func (m Member) plannedBy() string {
	return fmt.Sprint(m.Leaving, m.MaxPartitions, m.Avoids, slices.Sorted(maps.Keys(m.States)))
}

// pids returns process ids as the parameter of a statement: null for none.
func pids(of []uint32) []int32 {
	var ids []int32
	for _, pid := range of {
		ids = append(ids, int32(pid))
	}
	return ids
}

// orNull returns n as the parameter of a statement: null for 0.
func orNull(n int32) *int32 {
	if n == 0 {
		return nil
	}
	return &n
}

// Leave deletes the member's row, and the rows of members that have been silent for a day.
func (m Member) Leave(ctx context.Context, q Execer) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	if _, err := q.Exec(ctx, sqlLeave.In(m.schema), m.Instance); err != nil {
		return fmt.Errorf("partition: leave: %w", err)
	}
	if _, err := q.Exec(ctx, sqlForget.In(m.schema)); err != nil {
		return fmt.Errorf("partition: forget silent members: %w", err)
	}
	return nil
}
