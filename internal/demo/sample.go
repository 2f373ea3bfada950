package demo

import (
	"context"
	_ "embed" // the statements
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

var (
	//go:embed sql/new_rows.sql
	newRowsSQL string
	//go:embed sql/latency.sql
	latencySQL string
)

// latencyWindow is how far back a sample looks for its latency.
const latencyWindow = 2 * time.Second

// Sample is how far things are, read from the log and the read model.
type Sample struct {
	Appended int64            // events in the log
	Handled  map[string]int64 // rows in the read model, by worker
	Latency  Latency          // of what was handled in the last two seconds
}

// Latency is the time from the insert of an event to the insert of its row, by the server's clock. The commit of the event is
// in it, that of the row is not.
type Latency struct {
	P50, P99 *float64 // milliseconds; nil: nothing was handled
}

// Sampler takes samples. Each reads only what is new since the last one, so samples cost the same however long a demo runs.
// For that it relies on one appender at a time, whose transactions commit in the order of their positions. Not safe for
// concurrent use.
type Sampler struct {
	// After leaves events up to this position out of the latency; they count all the same.
	After int64

	labels   []string
	marks    []int64 // the last row seen, by label
	handled  []int64 // by label
	appended int64
	head     int64 // the last position seen
}

// NewSampler makes a Sampler for workers with these labels, each of which is one process at a time.
func NewSampler(labels []string) *Sampler {
	return &Sampler{labels: slices.Clone(labels), marks: make([]int64, len(labels)), handled: make([]int64, len(labels))}
}

// Sample reads what is new.
func (s *Sampler) Sample(ctx context.Context, pool *pgxpool.Pool) (Sample, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	// One snapshot, so that nothing is handled that was not appended before.
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	var latency Latency
	next := Sampler{After: s.After, labels: s.labels, marks: slices.Clone(s.marks), handled: slices.Clone(s.handled)}
	err := pgx.BeginTxFunc(ctx, pool, options, func(tx pgx.Tx) (err error) {
		const appended = "select count(*), coalesce(max(global_position), $1) from events where global_position > $1"
		if err := tx.QueryRow(ctx, appended, s.head).Scan(&next.appended, &next.head); err != nil {
			return err
		}
		next.appended += s.appended
		if err := next.count(ctx, tx); err != nil {
			return err
		}
		latency, err = latencyOf(ctx, tx, s.After, latencyWindow)
		return err
	})
	if err != nil {
		return Sample{}, fmt.Errorf("demo: read how far things are: %w", err)
	}
	*s = next
	out := Sample{Appended: s.appended, Handled: map[string]int64{}, Latency: latency}
	for i, label := range s.labels {
		out.Handled[label] = s.handled[i]
	}
	return out, nil
}

// count adds what each worker has handled since its mark.
func (s *Sampler) count(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, newRowsSQL, s.labels, s.marks)
	if err != nil {
		return err
	}
	var label string
	var more, mark int64
	_, err = pgx.ForEachRow(rows, []any{&label, &more, &mark}, func() error {
		i := slices.Index(s.labels, label)
		s.handled[i] += more
		s.marks[i] = mark
		return nil
	})
	return err
}

// WholeLatency is the latency of everything that was handled of events after a position.
func WholeLatency(ctx context.Context, pool *pgxpool.Pool, after int64) (Latency, error) {
	ctx, cancel := context.WithTimeout(ctx, verdictTimeout)
	defer cancel()
	l, err := latencyOf(ctx, pool, after, 0)
	if err != nil {
		return Latency{}, fmt.Errorf("demo: read the latency: %w", err)
	}
	return l, nil
}

// querier is a pool or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func latencyOf(ctx context.Context, q querier, after int64, window time.Duration) (Latency, error) {
	var seconds *float64
	if window > 0 {
		s := window.Seconds()
		seconds = &s
	}
	var l Latency
	err := q.QueryRow(ctx, latencySQL, after, seconds).Scan(&l.P50, &l.P99)
	return l, err
}
