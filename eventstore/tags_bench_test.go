package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
)

// One transaction for each event, by 16 writers: appends to streams beside appends with tags, without and with a decision.
// refused/op is how often a decision was made again.
func BenchmarkTags(b *testing.B) {
	for _, one := range []struct {
		name string
		run  func(ctx context.Context, pool *pgxpool.Pool, n int64) error
	}{
		{"append", func(ctx context.Context, pool *pgxpool.Pool, n int64) error {
			return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
				_, err := eventstore.Append(ctx, tx, eventstore.Stream{Type: "a", ID: fmt.Sprint(n)}, eventstore.Any(), some(1)...)
				return err
			})
		}},
		{"append with two tags", func(ctx context.Context, pool *pgxpool.Pool, n int64) error {
			return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
				_, err := eventstore.AppendTagged(ctx, tx, eventstore.Stream{Type: "a", ID: fmt.Sprint(n)}, eventstore.Any(), tagged("Joined", spread(rand.Int64())...))
				return err
			})
		}},
		{"read a stream and append", func(ctx context.Context, pool *pgxpool.Pool, _ int64) error {
			stream := eventstore.Stream{Type: "course", ID: fmt.Sprint(rand.IntN(1000))}
			events, err := eventstore.ReadStream(ctx, pool, stream, eventstore.ReadOptions{})
			if err != nil {
				return err
			}
			return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
				_, err := eventstore.Append(ctx, tx, stream, eventstore.Exact(int64(len(events))), some(1)...)
				return err
			})
		}},
		{"read two tags and append", func(ctx context.Context, pool *pgxpool.Pool, n int64) error {
			return benchDecide(ctx, pool, n, spread(rand.Int64())...)
		}},
		{"the same, one of them everybody's", func(ctx context.Context, pool *pgxpool.Pool, n int64) error {
			return benchDecide(ctx, pool, n, "course:all", spread(rand.Int64())[1])
		}},
	} {
		b.Run(one.name, func(b *testing.B) {
			pool := benchPool(b)
			var n, refused atomic.Int64
			b.SetParallelism(8) // of two processors
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					err := one.run(b.Context(), pool, n.Add(1))
					for errors.Is(err, eventstore.ErrConflict) {
						refused.Add(1)
						err = one.run(b.Context(), pool, n.Add(1))
					}
					if err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(refused.Load())/float64(b.N), "refused/op")
		})
	}
}

// spread returns a course and a student, of a thousand each.
func spread(n int64) []string {
	return []string{fmt.Sprint("course:", n%1000), fmt.Sprint("student:", n/1000%1000)}
}

func benchDecide(ctx context.Context, pool *pgxpool.Pool, n int64, tags ...string) error {
	_, condition, err := eventstore.ReadTagged(ctx, pool, eventstore.Match{Tags: tags[1:]}, eventstore.Match{Tags: tags[:1], Types: []string{"Closed"}})
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		_, err := eventstore.AppendIf(ctx, tx, condition, eventstore.Stream{Type: "joining", ID: fmt.Sprint(n)}, tagged("Joined", tags...))
		return err
	})
}

func benchPool(b *testing.B) *pgxpool.Pool {
	b.Helper()
	config, err := pgxpool.ParseConfig(testdb.New(b).URL)
	if err != nil {
		b.Fatal(err)
	}
	config.MaxConns = 20
	pool, err := pgxpool.NewWithConfig(b.Context(), config)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	return pool
}
