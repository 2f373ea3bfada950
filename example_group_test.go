package rouse_test

import (
	"context"
	"log"
	"os/signal"
	"syscall"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse"
)

// A log for each tenant, in the schemas tenant_1, tenant_2 and so on, and a worker for each of them. Tenants that are made while it runs are
// found.
func ExampleGroup() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	pool, err := pgxpool.New(ctx, "postgres://app@db.example/shop?pool_max_conns=10")
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	group, err := rouse.NewGroup(pool, rouse.GroupConfig{
		Schemas: rouse.SchemasLike(pool, "tenant_*"),
		Worker: func(_ context.Context, _ string) (rouse.Config, error) {
			return rouse.Config{Projections: []rouse.Projection{projection{name: "orders"}}}, nil
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := group.Run(ctx); err != nil {
		log.Fatal(err)
	}
}
