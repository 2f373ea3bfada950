package partition

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Member is what a process tells about itself: its row in projection_workers.
type Member struct {
	Instance, Label string
	Static          bool
	Index, Total    int // of a static worker
	Presence        int32
	Host            string
	PID             int

	Mode            string            // quiet, torrent, polling or deaf
	States          map[string]string // by projection
	EventsHandled   int64
	EventsPerSecond float64
	LastWake        time.Time // zero: none yet
}

// Heartbeat writes the member's row. The database's clock dates it.
func (m Member) Heartbeat(ctx context.Context, pool *pgxpool.Pool) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	states, err := json.Marshal(m.States)
	if err != nil {
		return fmt.Errorf("partition: encode states: %w", err)
	}
	assignment, index, total := "elastic", (*int32)(nil), (*int32)(nil)
	if m.Static {
		i, t := int32(m.Index), int32(m.Total)
		assignment, index, total = "static", &i, &t
	}
	var presence *int32
	if m.Presence != 0 {
		presence = &m.Presence
	}
	var wake *time.Time
	if !m.LastWake.IsZero() {
		wake = &m.LastWake
	}
	_, err = pool.Exec(ctx, sqlHeartbeat, m.Instance, m.Label, assignment, index, total, presence, m.Host, int32(m.PID), m.Mode,
		string(states), m.EventsHandled, float32(m.EventsPerSecond), wake)
	if err != nil {
		return fmt.Errorf("partition: write the heartbeat: %w", err)
	}
	return nil
}

// Leave removes the member's row, and the rows of members that have been silent for a day.
func (m Member) Leave(ctx context.Context, pool *pgxpool.Pool) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	if _, err := pool.Exec(ctx, "delete from projection_workers where instance_id = $1::text::uuid", m.Instance); err != nil {
		return fmt.Errorf("partition: leave: %w", err)
	}
	if _, err := pool.Exec(ctx, sqlForget); err != nil {
		return fmt.Errorf("partition: forget silent members: %w", err)
	}
	return nil
}
