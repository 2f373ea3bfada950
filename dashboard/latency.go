package dashboard

import (
	"context"
	_ "embed" // the statement
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/internal/report"
)

const (
	// latencyFor is how long a measurement counts.
	latencyFor = 5 * time.Minute

	// savedWithin is how old a save may be to be measured, in seconds: a few looks, should one be late.
	savedWithin = 5.0

	// maxMeasured bounds the measurements of a projection: one a second and partition would be many with 1024 of them.
	maxMeasured = 5000
)

//go:embed sql/reached.sql
var reachedSQL string

// latency measures, from what the database keeps, how long it takes from an event's insert to the save of the checkpoint that has
// reached it. A look sees the last batch of each partition, and measures its last event: a sample, taken by the clock of the
// database alone, of all workers.
type latency struct {
	seen     map[partitionKey]standing
	measured map[string][]measurement
}

type partitionKey struct {
	projection string
	partition  int
}

type standing struct{ checkpoint, epoch int64 }

type measurement struct {
	at      time.Time
	seconds float64
}

func newLatency() latency {
	return latency{seen: map[partitionKey]standing{}, measured: map[string][]measurement{}}
}

type reached struct {
	partitionKey
	standing
	seconds float64
}

// look takes the measurements of one look, after a report of the same look.
func (l *latency) look(ctx context.Context, pool *pgxpool.Pool, r report.Report) error {
	rows, err := pool.Query(ctx, reachedSQL, savedWithin)
	if err != nil {
		return fmt.Errorf("dashboard: read the latency: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r reached, err error) {
		err = row.Scan(&r.projection, &r.partition, &r.checkpoint, &r.epoch, &r.seconds)
		return r, err
	})
	if err != nil {
		return fmt.Errorf("dashboard: read the latency: %w", err)
	}
	l.take(time.Now(), all)
	l.remember(r, all)
	return nil
}

// take keeps what can be told to be the save of a batch: the checkpoint has moved since the last look, in the same hands. A claim
// dates a checkpoint too, but does not move it, and raises the epoch.
func (l *latency) take(at time.Time, all []reached) {
	for _, r := range all {
		before, known := l.seen[r.partitionKey]
		if known && before.epoch == r.epoch && before.checkpoint < r.checkpoint {
			l.measured[r.projection] = append(l.measured[r.projection], measurement{at, r.seconds})
		}
	}
	for name, list := range l.measured {
		list = slices.DeleteFunc(list, func(m measurement) bool { return at.Sub(m.at) > latencyFor })
		l.measured[name] = list[max(len(list)-maxMeasured, 0):]
	}
}

// remember keeps where all partitions stood, for the next look. What was measured was read after the report.
func (l *latency) remember(r report.Report, all []reached) {
	clear(l.seen)
	for _, p := range r.Projections {
		for _, part := range p.Partitions {
			l.seen[partitionKey{p.Name, part.Partition}] = standing{part.Checkpoint, part.Epoch}
		}
	}
	for _, r := range all {
		l.seen[r.partitionKey] = r.standing
	}
}

// percentiles of a projection's latency, in seconds.
type percentiles struct {
	P50   float64 `json:"p50"`
	P95   float64 `json:"p95"`
	P99   float64 `json:"p99"`
	Count int     `json:"count"` // of measurements
}

// of returns the percentiles of a projection; nil: nothing was measured lately.
func (l *latency) of(projection string) *percentiles {
	list := l.measured[projection]
	if len(list) == 0 {
		return nil
	}
	seconds := make([]float64, len(list))
	for i, m := range list {
		seconds[i] = m.seconds
	}
	slices.Sort(seconds)
	at := func(percent int) float64 { return seconds[(len(seconds)*percent+99)/100-1] } // the nearest rank
	return &percentiles{P50: at(50), P95: at(95), P99: at(99), Count: len(seconds)}
}
