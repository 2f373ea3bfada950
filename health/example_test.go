package health_test

import (
	"context"
	"net/http"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/dashboard"
	"github.com/rouse-es/rouse/health"
	"github.com/rouse-es/rouse/metrics"
)

// Probes, metrics and the dashboard of a worker, on one address. Package app does this with the flag --http.
func Example() {
	var pool *pgxpool.Pool // of the program
	var cfg rouse.Config   // with its projections

	m := metrics.New(pool)
	cfg.Observer = m.Observer()
	worker, err := rouse.New(pool, cfg)
	if err != nil {
		panic(err)
	}
	m.Watch(worker)
	page := dashboard.New(dashboard.Config{Pool: pool})
	defer page.Close()

	mux := http.NewServeMux()
	mux.Handle("/", page)
	mux.Handle("/metrics", m.Handler())
	probes := health.Handler(worker)
	mux.Handle("/healthz", probes)
	mux.Handle("/readyz", probes)
	go func() { _ = http.ListenAndServe("127.0.0.1:8080", mux) }()
	if err := worker.Run(context.Background()); err != nil {
		panic(err)
	}
}
