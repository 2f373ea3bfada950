package reliability_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
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
	Partitions int        // 0: those of the database
	Plain      bool       // without the batch form of the projection
	Effects    string     // the file that effects are written to
	Broken     string     // how the handlers are broken, for a test of the judge; "": not at all
	Hostile    *hostility // nil: the handlers have no trouble with any event
	Logs       string     // the folder that the log is written to besides; "": none
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
	log, err := o.log()
	if err != nil {
		return err
	}
	w, err := rouse.New(pool, o.config(effects, log))
	if err != nil {
		return err
	}
	return process.Work(ctx, w)
}

// log is where the log goes. The end of the process closes it.
func (o order) log() (io.Writer, error) {
	if o.Logs == "" {
		return os.Stderr, nil
	}
	file, err := os.OpenFile(filepath.Join(o.Logs, o.Label), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return io.MultiWriter(os.Stderr, file), err
}

func (o order) config(effects *os.File, log io.Writer) rouse.Config {
	cfg := rouse.Config{
		Projections: []rouse.Projection{o.projection()},
		Effects:     []rouse.Effect{o.effect(effects)},
		Label:       o.Label, BatchSize: o.BatchSize, LeaseTTL: leaseTTL, Partitions: o.Partitions,
		Log: zerolog.New(log).With().Timestamp().Logger(),
	}
	if o.Hostile != nil {
		cfg.HandlerTimeout = hostileTimeout
		cfg.Retry = rouse.RetryPolicy{Tries: hostileTries, Pause: rouse.Doubling(hostilePause, time.Second)}
	}
	return cfg
}

func (o order) projection() rouse.Projection {
	own := recorder{o.Label}
	var p rouse.Projection = own
	switch {
	case o.Broken == brokenAtRandom:
		p = &broken{own}
	case o.Broken == brokenSkips, o.Broken == brokenLater:
		p = &naive{recorder: own, hostility: o.Hostile, how: o.Broken}
	case o.Hostile != nil && o.Broken == "":
		p = hostileRecorder{own, enemy{o.Hostile, o.Label}}
	}
	if o.Plain {
		return struct{ rouse.Projection }{p} // which hides the batch form
	}
	return p
}

func (o order) effect(to *os.File) rouse.Effect {
	own := bills{to}
	switch {
	case o.Broken == brokenTwice:
		return twice{own, o.Hostile}
	case o.Hostile != nil && o.Broken == "":
		return hostileBills{own, enemy{o.Hostile, o.Label}}
	}
	return own
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

// bills is an effect outside the database: it writes down which events it was called for and when, in a file, which every
// kill leaves as it is.
type bills struct{ to *os.File }

func (bills) Name() string         { return effectName }
func (bills) EventTypes() []string { return []string{billed} }

func (bills) StartFrom() rouse.Start { return rouse.Beginning }

func (b bills) Do(_ context.Context, ev eventstore.Event) error {
	_, err := b.to.Write(binary.LittleEndian.AppendUint64(ev.ID[:], uint64(time.Now().UnixNano())))
	return err
}
