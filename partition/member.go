package partition

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Execer is a connection, a pool or a transaction.
type Execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// Member is what a process tells about itself: its row in projection_workers.
type Member struct {
	Instance, Label string
	Static          bool
	Index, Total    int   // of a static worker
	Presence        int32 // 0: it holds no presence lock
	Host            string
	PID             int

	// TTL is how old its heartbeat may be before it counts as dead. Default: DefaultTTL.
	TTL time.Duration

	// MaxPartitions is the most partitions of one projection that it takes. 0: any number.
	MaxPartitions int

	// Avoids are the partitions that it cannot take for the time being, by projection.
	Avoids map[string][]int

	// Leaving means that it is stopping.
	Leaving bool

	Mode            string            // quiet, torrent, polling or deaf
	States          map[string]string // by projection
	EventsHandled   int64
	EventsPerSecond float64
	LastWake        time.Time // zero: none yet
}

// DefaultTTL is how old a heartbeat may be before its worker counts as dead.
const DefaultTTL = 5 * time.Second

// Heartbeat writes the member's row. The database's clock dates it.
func (m Member) Heartbeat(ctx context.Context, db Execer) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	if m.States == nil {
		m.States = map[string]string{}
	}
	states, err := json.Marshal(m.States)
	if err != nil {
		return fmt.Errorf("partition: encode states: %w", err)
	}
	avoids, err := json.Marshal(m.Avoids)
	if err != nil || m.Avoids == nil {
		avoids = []byte("{}")
	}
	if m.TTL == 0 {
		m.TTL = DefaultTTL
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
	_, err = db.Exec(ctx, sqlHeartbeat, m.Instance, m.Label, assignment, index, total, orNull(m.Presence), m.Host, int32(m.PID), m.Mode,
		string(states), m.EventsHandled, float32(m.EventsPerSecond), wake,
		int32(m.TTL.Milliseconds()), orNull(int32(m.MaxPartitions)), m.Leaving, string(avoids))
	if err != nil {
		return fmt.Errorf("partition: write the heartbeat: %w", err)
	}
	return nil
}

func orNull(n int32) *int32 {
	if n == 0 {
		return nil
	}
	return &n
}

// Leave removes the member's row, and the rows of members that have been silent for a day.
func (m Member) Leave(ctx context.Context, db Execer) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	if _, err := db.Exec(ctx, "delete from projection_workers where instance_id = $1::text::uuid", m.Instance); err != nil {
		return fmt.Errorf("partition: leave: %w", err)
	}
	if _, err := db.Exec(ctx, sqlForget); err != nil {
		return fmt.Errorf("partition: forget silent members: %w", err)
	}
	return nil
}
