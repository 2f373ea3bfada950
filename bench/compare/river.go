package compare

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

const (
	// riverLimit is the most jobs of a history that River works through: it takes one transaction for each.
	riverLimit = 20_000

	// riverChunk is how many jobs of a history are inserted at once.
	riverChunk = 10_000
)

// RiverTuning is what was set on River.
type RiverTuning struct {
	Workers  int           `json:"workers"`     // jobs that are worked at once, at most
	Cooldown time.Duration `json:"cooldown_ns"` // the shortest time between two fetches; its default is 100 ms
}

// riverSide is River over pgx: a queue of jobs, one for each event, without an order. A job is completed in the transaction of its effect.
type riverSide struct {
	place
	tuning RiverTuning
	insert *river.Client[pgx.Tx] // that works nothing
}

// eventArgs is a job.
type eventArgs struct {
	AggregateID string `json:"aggregate_id"`
	Version     int    `json:"version"`
	Amount      int    `json:"amount"`
	Currency    string `json:"currency"`
	Reference   string `json:"reference"`
}

// Kind names the jobs.
func (eventArgs) Kind() string { return "event" }

// argsOf is an event with the payload of all sides.
func argsOf(aggregate string, version int) eventArgs {
	return eventArgs{AggregateID: aggregate, Version: version, Amount: 1250, Currency: "EUR", Reference: "a standing order"}
}

func (s *riverSide) create(ctx context.Context) (err error) {
	migrator, err := rivermigrate.New(riverpgxv5.New(s.pool), &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return err
	}
	s.insert, err = river.NewClient(riverpgxv5.New(s.pool), &river.Config{FetchCooldown: s.tuning.Cooldown, Logger: slog.New(slog.DiscardHandler)})
	return err
}

func (*riverSide) limit() int64 { return riverLimit }

func (s *riverSide) fill(ctx context.Context, events int64) error {
	for first := int64(0); first < events; first += riverChunk {
		var jobs []river.InsertManyParams
		for n := first; n < min(first+riverChunk, events); n++ {
			jobs = append(jobs, river.InsertManyParams{Args: argsOf(aggregateOf(n), int(n/aggregates)+1)})
		}
		if _, err := s.insert.InsertManyFast(ctx, jobs); err != nil {
			return err
		}
	}
	return s.exec(ctx, "vacuum analyze river_job")
}

func (s *riverSide) append(ctx context.Context, conn *pgx.Conn, aggregate string, version int) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		_, err := s.insert.InsertTx(ctx, tx, argsOf(aggregate, version), nil)
		return err
	})
}

func (*riverSide) emptySQL() string { return "truncate river_job" }

func (s *riverSide) rewind(ctx context.Context) error {
	if err := s.exec(ctx, sqlRiverRewind); err != nil {
		return err
	}
	return s.exec(ctx, "vacuum analyze river_job")
}

func (s *riverSide) start(ctx context.Context, idle bool, committed func(events int)) (*worker, error) {
	workers := river.NewWorkers()
	river.AddWorker(workers, &eventWorker{side: s, idle: idle, committed: committed})
	client, err := river.NewClient(riverpgxv5.New(s.pool), &river.Config{
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: s.tuning.Workers}}, Workers: workers,
		FetchCooldown: s.tuning.Cooldown, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	if err := client.Start(context.WithoutCancel(ctx)); err != nil {
		return nil, err
	}
	return begin(ctx, func(ctx context.Context) error {
		<-ctx.Done()
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statementTimeout)
		defer cancel()
		return client.StopAndCancel(stopCtx)
	}), nil
}

// eventWorker works jobs.
type eventWorker struct {
	river.WorkerDefaults[eventArgs]
	side *riverSide
	idle bool

	mu        sync.Mutex // committed is called by one at a time
	committed func(events int)
}

// Work counts an event.
func (w *eventWorker) Work(ctx context.Context, job *river.Job[eventArgs]) error {
	err := pgx.BeginFunc(ctx, w.side.pool, func(tx pgx.Tx) error {
		if !w.idle {
			if _, err := tx.Exec(ctx, sqlCountOne, job.Args.AggregateID); err != nil {
				return err
			}
		}
		_, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job)
		return err
	})
	if err == nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.committed(1)
	}
	return err
}
