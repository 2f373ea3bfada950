package rouse_test

import (
	"context"
	"log"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse"
)

// Secrets that rotate are read for each connection, by a hook of the pool that the listening and the control connection have too.
func ExampleNew_secretsThatRotate() {
	ctx := context.Background()
	const address = "postgres://shop_worker@db.example.com/shop?sslmode=verify-full&connect_timeout=3" +
		"&passfile=/run/secrets/pgpass&sslcert=/run/secrets/tls.crt&sslkey=/run/secrets/tls.key&sslrootcert=/run/secrets/ca.crt"
	cfg, err := pgxpool.ParseConfig(address)
	if err != nil {
		log.Fatal(err)
	}
	cfg.BeforeConnect = func(_ context.Context, conn *pgx.ConnConfig) error {
		fresh, err := pgx.ParseConfig(address) // reads the files that the address names
		if err != nil {
			return err
		}
		conn.Password = fresh.Password // or the answer of a vault, or a token that is signed here
		conn.TLSConfig, conn.Fallbacks = fresh.TLSConfig, fresh.Fallbacks
		return nil
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	worker, err := rouse.New(pool, rouse.Config{Projections: []rouse.Projection{projection{name: "orders"}}})
	if err != nil {
		log.Print(err)
		return
	}
	if err := worker.Run(ctx); err != nil {
		log.Print(err)
	}
}
