package projection_test

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/projection"
	"github.com/rouse-es/rouse/rousetest"
)

// sales counts sales. Its first version was wrong: it counted each twice.
type sales struct{ version int }

func (sales) Name() string     { return "sales" }
func (sales) Tables() []string { return []string{"sales"} }
func (s sales) Version() int   { return max(s.version, 1) }

func (sales) Reset(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `truncate sales`)
	return err
}

func (s sales) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	times := 1
	if s.Version() == 1 {
		times = 2
	}
	_, err := tx.Exec(ctx, `insert into sales as s values ($1, $2) on conflict (product) do update set sold = s.sold + excluded.sold`,
		ev.AggregateID, times)
	return err
}

// withSales returns a database with three sales, which were handled by the first version.
func withSales(ctx context.Context) (db *rousetest.DB) {
	db, err := rousetest.Open(rousetest.Config{SQL: `create table sales (product text primary key, sold int not null)`})
	if err != nil {
		panic(err)
	}
	sell(ctx, db.Pool, 3)
	drain(ctx, db.Pool, rouse.Config{Projections: []rouse.Projection{sales{}}})
	return db
}

// Another version of a projection is built beside the one that is live, and takes its place when it is promoted.
func ExamplePromote() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	db := withSales(ctx)
	defer db.Close()
	worker, err := rouse.New(db.Pool, rouse.Config{Projections: []rouse.Projection{sales{version: 2}}}) // of the new program
	if err != nil {
		panic(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()
	<-worker.Started()

	for { // until the worker has made the second version, and it has caught up
		builds, err := projection.Builds(ctx, db.Pool, "sales")
		if err != nil {
			panic(err)
		}
		if len(builds) > 0 && builds[0].Near {
			break
		}
		<-time.After(10 * time.Millisecond)
	}
	show(ctx, db.Pool)
	promoted, err := projection.Promote(ctx, db.Pool, "sales", 2)
	if err != nil {
		panic(err)
	}
	fmt.Println("live is version", promoted.Version, "and", promoted.Kept, "goes on beside it")
	show(ctx, db.Pool)
	stop()
	<-ended
	fmt.Println(projection.DropBuild(context.Background(), db.Pool, promoted.Kept)) // once nobody wants to go back
	// Output:
	// sold: 6
	// live is version 2 and sales@1 goes on beside it
	// sold: 3
	// <nil>
}

// sell appends sales of pens.
func sell(ctx context.Context, pool *pgxpool.Pool, pens int) {
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		for range pens {
			_, err := eventstore.Append(ctx, tx, eventstore.Stream{Type: "product", ID: "pen"}, eventstore.Any(),
				eventstore.NewEvent{Type: "Sold", Payload: []byte(`{}`)})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		panic(err)
	}
}

// drain handles what there is.
func drain(ctx context.Context, pool *pgxpool.Pool, cfg rouse.Config) {
	worker, err := rouse.New(pool, cfg)
	if err != nil {
		panic(err)
	}
	if err := worker.Drain(ctx); err != nil {
		panic(err)
	}
}

// show prints the read model.
func show(ctx context.Context, pool *pgxpool.Pool) {
	var sold int
	if err := pool.QueryRow(ctx, `select sold from sales`).Scan(&sold); err != nil {
		panic(err)
	}
	fmt.Println("sold:", sold)
}
