package main

import (
	"context"
	_ "embed" // the statements

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/eventstore"
)

var (
	//go:embed sql/read_model.sql
	readModel string
	//go:embed sql/count.sql
	sqlCount string
	//go:embed sql/floor_log.sql
	floorLog string
	//go:embed sql/noisy_push.sql
	noisyPush string
	//go:embed sql/append.pgbench
	appendScript []byte
)

// counts is a small real projection: one row per aggregate, counted in one statement per batch.
type counts struct{}

func (counts) Name() string { return "bench_counts" }

func (c counts) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	_, err := tx.Exec(ctx, sqlCount, []string{ev.AggregateID}, []int64{1})
	return err
}

func (c counts) ApplyBatch(_ context.Context, batch *pgx.Batch, events []eventstore.Event) error {
	n := map[string]int64{}
	for _, ev := range events {
		n[ev.AggregateID]++
	}
	ids, counts := make([]string, 0, len(n)), make([]int64, 0, len(n))
	for id, k := range n {
		ids, counts = append(ids, id), append(counts, k)
	}
	batch.Queue(sqlCount, ids, counts)
	return nil
}
