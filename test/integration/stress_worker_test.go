package integration_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/signal"
	"github.com/rouse-es/rouse/test/process"
)

func init() { roles["stress-worker"] = stressWorker }

// stressWorkerEnv carries a workerOrder to the worker's process.
const stressWorkerEnv = "ROUSE_TEST_STRESS_WORKER"

// workerOrder is what a worker process is told.
type workerOrder struct {
	URL          string
	Name         string
	Index, Total int
	BatchSize    int
	Plain        bool // without the batch form of the projection
	Stumbles     bool // the handler fails now and then
}

// What a worker process reports, a line each.
const (
	lineFenced = "fenced"
	lineFailed = "failed"
	lineGap    = "gap"
	lineMode   = "mode " // and the mode
)

// stressWorker is the main function of a worker process. It ends by SIGTERM, and with the process that started it, whose end
// closes standard input.
func stressWorker() int {
	process.OutliveNobody()
	ctx, stop := signal.Context(context.Background())
	defer stop()
	if err := runStressWorker(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func runStressWorker(ctx context.Context) error {
	var order workerOrder
	if err := json.Unmarshal([]byte(os.Getenv(stressWorkerEnv)), &order); err != nil {
		return err
	}
	cfg, err := pgxpool.ParseConfig(order.URL)
	if err != nil {
		return errors.New("the URL of the database cannot be used")
	}
	cfg.MaxConns = 3 // two for the projection and one more
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer pool.Close()
	w, err := rouse.New(pool, rouse.Config{
		Projections: []rouse.Projection{order.projection()},
		Label:       order.Name,
		WorkerIndex: order.Index, TotalWorkers: order.Total,
		BatchSize: order.BatchSize,
		Observer: rouse.Observer{
			Fenced:     func(string, int) { fmt.Println(lineFenced) },
			Failed:     func(string, int, error) { fmt.Println(lineFailed) },
			VersionGap: func(string, eventstore.Event, int64) { fmt.Println(lineGap) },
			Mode:       func(mode string) { fmt.Println(lineMode + mode) },
		},
		Log: zerolog.New(os.Stderr).With().Timestamp().Logger(),
	})
	if err != nil {
		return err
	}
	return process.Work(ctx, w)
}

func (o workerOrder) projection() rouse.Projection {
	r := &stressRecorder{instance: o.Name, stumbles: o.Stumbles}
	if o.Plain {
		return struct{ rouse.Projection }{r} // which hides the batch form
	}
	return r
}

// errStumble is a handler's failure that has nothing to do with the event.
var errStumble = errors.New("stumbled")

// stressRecorder is a projection that writes down every event it is given, and keeps a tally for each aggregate.
type stressRecorder struct {
	instance string
	stumbles bool
}

func (r *stressRecorder) Name() string { return stressProjection }

func (r *stressRecorder) arguments(ev eventstore.Event) []any {
	return []any{stressProjection, ev.GlobalPosition, ev.AggregateType, ev.AggregateID, ev.AggregateVersion, r.instance}
}

// Apply fails once in 2000 times, after its effect.
func (r *stressRecorder) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	_, err := tx.Exec(ctx, stressSQL("record"), r.arguments(ev)...)
	if err == nil && r.stumbles && rand.IntN(2000) == 0 {
		return errStumble
	}
	return err
}

// ApplyBatch has one batch in 50 fail in the server, behind its effects, by the error that a broken fence raises too.
func (r *stressRecorder) ApplyBatch(_ context.Context, batch *pgx.Batch, events []eventstore.Event) error {
	for _, ev := range events {
		batch.Queue(stressSQL("record"), r.arguments(ev)...)
	}
	if r.stumbles && rand.IntN(50) == 0 {
		batch.Queue("select 1 / 0")
	}
	return nil
}
