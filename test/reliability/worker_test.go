package reliability_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/signal"
	"github.com/rouse-es/rouse/test/process"
)

const (
	// orderEnv carries an order to the process of a worker.
	orderEnv = "ROUSE_TEST_SOAK_WORKER"

	projectionName = "soak"
	effectName     = "bills"
	partitions     = 16 // of both

	// leaseTTL is short, so that a worker that is frozen or cut off is soon replaced.
	leaseTTL = time.Second
)

// order is what the process of a worker is told.
type order struct {
	URL, Label string
	BatchSize  int
	Plain      bool   // without the batch form of the projection
	Effects    string // the file that effects are written to
	Broken     bool   // the projection is broken, for a test of the judge
}

// worker is the main function of the process of a worker. It ends by SIGTERM, and with the process that started it.
func worker() int {
	process.OutliveNobody()
	ctx, stop := signal.Context(context.Background())
	defer stop()
	fmt.Println(process.Ready)
	if err := runWorker(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func runWorker(ctx context.Context) error {
	var o order
	if err := json.Unmarshal([]byte(os.Getenv(orderEnv)), &o); err != nil {
		return err
	}
	cfg, err := pgxpool.ParseConfig(o.URL)
	if err != nil {
		return errors.New("the URL of the database cannot be used")
	}
	cfg.MaxConns = 5 // two for the projection, two for the effect, and one more
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer pool.Close()
	effects, err := os.OpenFile(o.Effects, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer effects.Close()
	w, err := rouse.New(pool, rouse.Config{
		Projections: []rouse.Projection{o.projection()},
		Effects:     []rouse.Effect{bills{effects}},
		Label:       o.Label, BatchSize: o.BatchSize, LeaseTTL: leaseTTL, Partitions: partitions,
		Log: zerolog.New(os.Stderr).With().Timestamp().Logger(),
	})
	if err != nil {
		return err
	}
	return process.Work(ctx, w)
}

func (o order) projection() rouse.Projection {
	var p rouse.Projection = recorder{o.Label}
	if o.Broken {
		p = &broken{recorder{o.Label}}
	}
	if o.Plain {
		return struct{ rouse.Projection }{p} // which hides the batch form
	}
	return p
}

// recorder is a projection that writes down every event and counts those of each aggregate.
type recorder struct{ worker string }

func (recorder) Name() string { return projectionName }

func (r recorder) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	_, err := tx.Exec(ctx, statement("handle_one"), ev.AggregateID, ev.AggregateVersion, ev.GlobalPosition, r.worker)
	return err
}

func (r recorder) ApplyBatch(_ context.Context, batch *pgx.Batch, events []eventstore.Event) error {
	aggregates := make([]string, len(events))
	versions, positions := make([]int64, len(events)), make([]int64, len(events))
	for i, ev := range events {
		aggregates[i], versions[i], positions[i] = ev.AggregateID, ev.AggregateVersion, ev.GlobalPosition
	}
	batch.Queue(statement("handle_many"), aggregates, versions, positions, r.worker)
	return nil
}

// billed is the type of the events that the effect is for; the others have another one.
const billed, noted = "Billed", "Noted"

// bills is an effect outside the database: it writes the ids of some events to a file, which every kill leaves as it is.
type bills struct{ to *os.File }

func (bills) Name() string         { return effectName }
func (bills) EventTypes() []string { return []string{billed} }

func (b bills) Do(_ context.Context, ev eventstore.Event) error {
	_, err := b.to.Write(ev.ID[:])
	return err
}
