package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse/internal/appender"
	"github.com/rouse-es/rouse/internal/console"
	"github.com/rouse-es/rouse/internal/database"
	"github.com/rouse-es/rouse/internal/signal"
)

const (
	// FirstBurst is how many events are appended before any worker runs, so that there is something to catch up with.
	FirstBurst = 1000

	// aggregates is how many aggregates the events of `rouse demo` belong to: enough for even shares.
	aggregates = 1000

	// MaxWorkers is the most workers: as many as a new projection has partitions.
	MaxWorkers = 32

	// MaxRate is the most events per second that one appender is asked for.
	MaxRate = 100_000

	// drainTimeout is for handling what is left at the end.
	drainTimeout = time.Minute
)

// Options say how a demo goes.
type Options struct {
	Duration time.Duration // how long the walk takes; 0: the demo goes on after it until it is stopped
	Patience time.Duration // how long a step may take to come to what it should
	Workers  int
	Rate     float64 // events per second after the first burst
	Keep     bool    // leave the database there to look at
}

// Config says where a demo takes place and to whom it is shown.
type Config struct {
	Options

	// Database is the database that was given. If it has no address, the demo starts a server and points Database at it,
	// otherwise at a new schema in it.
	Database *database.Database

	Out  io.Writer // what is shown
	Err  io.Writer // the last lines of a child that has failed
	JSON bool      // show data
	Log  zerolog.Logger
}

var (
	// ErrVerdict means that the read model does not agree with the log.
	ErrVerdict = errors.New("the read model does not agree with the log: events were lost, doubled or out of order (see the verdict)")

	// ErrStep means that a step of the demo did not come to what it should.
	ErrStep = errors.New("workers did not join or take over in time (see the verdict; is the machine busy?)")
)

// ChildError is what a child of this program said of its failure, with its exit code.
type ChildError struct {
	Code     int
	Sentence string
}

// Error implements error.
func (e *ChildError) Error() string { return e.Sentence }

// Validate reports what is wrong with the options, in the words of the flags.
func (o Options) Validate() error {
	switch {
	case o.Duration < 0 || o.Duration > 0 && o.Duration < time.Second:
		return fmt.Errorf("--duration %s: one second or longer, or 0 to run until Ctrl+C", o.Duration)
	case o.Workers < 1 || o.Workers > MaxWorkers:
		return fmt.Errorf("--workers %d: from 1 to %d", o.Workers, MaxWorkers)
	case !(o.Rate > 0 && o.Rate <= MaxRate): // so written, NaN is refused too
		return fmt.Errorf("--rate %g: events per second, more than 0 and at most %d", o.Rate, MaxRate)
	}
	return nil
}

// Run sees to the order of things: a place, the first events, the processes, and everything away again.
func Run(ctx context.Context, cfg Config) (err error) {
	place, err := openPlace(ctx, cfg)
	if err != nil {
		return signal.IgnoreEnd(ctx, err)
	}
	judged := false
	defer func() { err = errors.Join(err, place.close(context.WithoutCancel(ctx), cfg.Keep && judged)) }()
	pool, after, err := furnish(ctx, cfg)
	if err != nil {
		return signal.IgnoreEnd(ctx, err)
	}
	defer pool.Close()
	if ctx.Err() != nil {
		return cfg.note("stopped before the workers were started, there is nothing to judge")
	}
	s := newShow(cfg, pool, place.environment(), after)
	if err := s.run(ctx); err != nil {
		return err
	}
	judged = true
	if !cfg.Keep {
		return s.judge(context.WithoutCancel(ctx), "")
	}
	err = s.judge(context.WithoutCancel(ctx), place.name())
	return errors.Join(err, place.stay(ctx))
}

// furnish creates the tables and appends the first burst. It returns the position of its last event. When ctx ends it comes
// back early.
func furnish(ctx context.Context, cfg Config) (pool *pgxpool.Pool, after int64, err error) {
	_, version, err := cfg.Database.Migrate(ctx, nil)
	if err != nil {
		return nil, 0, err
	}
	if pool, err = cfg.Database.Pool(ctx, "demo", database.MinConns); err != nil {
		return nil, 0, err
	}
	p := &appender.Appender{Pool: pool, Aggregates: aggregates, Writers: 1}
	err = Ensure(ctx, pool)
	if err == nil {
		err = cfg.note("the schema is at version %d, %s events are appended before the workers start", version, console.Grouped(FirstBurst))
	}
	if err == nil {
		err = p.Run(ctx, FirstBurst, false)
	}
	if err != nil {
		pool.Close()
		return nil, 0, err
	}
	return pool, p.Last(), nil
}

// note prints one line for people, and nothing where data is asked for.
func (cfg Config) note(format string, args ...any) error {
	if cfg.JSON {
		return nil
	}
	return console.Printf(cfg.Out, format+"\n", args...)
}

// say prints one line.
func (cfg Config) say(format string, args ...any) error {
	_, err := fmt.Fprintf(cfg.Out, format+"\n", args...)
	return err
}

// workerLabel is the name of one worker.
func workerLabel(index int) string { return fmt.Sprintf("worker-%d", index) }

// WorkerArgs returns the command line of the process of a worker.
func WorkerArgs(index int) []string {
	return []string{
		"worker", "--projection", Name, "--worker-id", workerLabel(index), "--lease-ttl", leaseTTL.String(),
		"--log-level", "info", "--log-format", "json", "--until-eof",
	}
}

// AppenderArgs returns the command line of the appender's process.
func AppenderArgs(rate float64) []string {
	return []string{
		"append", "--count", "0", "--rate", fmt.Sprint(rate), "--aggregates", fmt.Sprint(aggregates),
		"--log-level", "info", "--log-format", "json", "--until-eof",
	}
}
