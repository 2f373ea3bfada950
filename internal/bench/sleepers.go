package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/process"
)

const (
	// SleeperCommand is the hidden command of rouse that runs Sleep.
	SleeperCommand = "bench-sleeper"

	sleeperName = "bench_sleeper"

	// sleepersWithin is how long all sleepers may take until they sleep.
	sleepersWithin = 5 * time.Minute
)

// sleepy is a projection of events that never happen: its processes listen and are woken, and handle nothing.
type sleepy struct{}

func (sleepy) Name() string { return sleeperName }

func (sleepy) EventTypes() []string { return []string{"NeverHappens"} }

func (sleepy) Apply(context.Context, pgx.Tx, eventstore.Event) error { return nil }

// Sleep runs worker index of so many that listen and are never given an event, until ctx ends. Shares are fixed, so that those
// who start at once do not share anew for each of them.
func Sleep(ctx context.Context, pool *pgxpool.Pool, index, total int, log zerolog.Logger) error {
	partitions := 1
	for partitions < total {
		partitions *= 2
	}
	w, err := rouse.New(pool, rouse.Config{
		Projections: []rouse.Projection{sleepy{}}, WorkerIndex: index, TotalWorkers: total, Partitions: partitions, Label: "sleeper", Log: log,
	})
	if err != nil {
		return err
	}
	return w.Run(ctx)
}

// sleepers are processes that listen.
type sleepers struct {
	b        *Bench
	children []*process.Process
}

// startSleepers starts so many processes and waits until all of them sleep. The caller stops them, whatever the error.
func (b *Bench) startSleepers(ctx context.Context, program string, n int) (s *sleepers, err error) {
	s = &sleepers{b: b}
	for i := range n {
		c, err := b.startChild(ctx, program, SleeperCommand, fmt.Sprint(i), fmt.Sprint(n))
		if err != nil {
			return s, err
		}
		s.children = append(s.children, c)
	}
	return s, s.asleep(ctx)
}

// asleep waits until all of them sleep until they are pushed.
func (s *sleepers) asleep(ctx context.Context) error {
	if s == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, sleepersWithin)
	defer cancel()
	for {
		quiet, err := s.b.number(ctx, `select count(*) from projection_workers where label = 'sleeper' and mode = 'quiet'`)
		if err != nil {
			return err
		}
		if quiet >= int64(len(s.children)) {
			return nil
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("bench: of %d idle processes only %d sleep: %w", len(s.children), quiet, err)
		}
	}
}

// stop ends all of them and waits.
func (s *sleepers) stop() error {
	if s == nil {
		return nil
	}
	var err error
	for _, c := range s.children {
		c.Dismiss() // all are told before one is waited for
	}
	for _, c := range s.children {
		_, childErr := ended(c)
		err = errors.Join(err, childErr)
	}
	return err
}
