package integration_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/test/process"
)

func init() { roles["hungry"] = hungry }

// eaten counts events, and closes all once it has counted as many as wanted.
type eaten struct {
	left atomic.Int64
	all  chan struct{}
}

func (e *eaten) add(n int) {
	if after := e.left.Add(-int64(n)); after <= 0 && after+int64(n) > 0 {
		close(e.all)
	}
}

// sees is a projection that only counts, in memory.
type sees struct {
	name  string
	eaten *eaten
}

func (s sees) Name() string { return s.name }

func (s sees) Apply(context.Context, pgx.Tx, eventstore.Event) error {
	s.eaten.add(1)
	return nil
}

func (s sees) ApplyBatch(_ context.Context, _ *pgx.Batch, events []eventstore.Event) error {
	s.eaten.add(len(events))
	return nil
}

// hungry is the main function of a process that handles all there is in HUNGRY_PROJECTIONS projections, with what is
// parked for them; once it has begun, it sends HUNGRY_LIVE ten times. It reports the most memory that its Go program ever had, in MiB: what is mapped never gets
// less, and what the race detector takes beside it is not in it.
func hungry() int {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, os.Getenv("HUNGRY_URL"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer pool.Close()
	projections, _ := strconv.Atoi(os.Getenv("HUNGRY_PROJECTIONS"))
	wanted, _ := strconv.ParseInt(os.Getenv("HUNGRY_EVENTS"), 10, 64)
	e := &eaten{all: make(chan struct{})}
	e.left.Store(wanted)
	var cfg rouse.Config
	for i := range projections {
		cfg.Projections = append(cfg.Projections, sees{name: fmt.Sprint("p", i), eaten: e})
	}
	w, err := rouse.New(pool, cfg)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	go func() {
		<-e.all
		cancel()
	}()
	if live := os.Getenv("HUNGRY_LIVE"); live != "" {
		go func() {
			<-w.Started()
			for range 10 {
				if _, err := pool.Exec(ctx, live); err != nil {
					fmt.Fprintln(os.Stderr, err)
				}
			}
		}()
	}
	if err := w.Run(ctx); err != nil || e.left.Load() > 0 {
		fmt.Fprintln(os.Stderr, "events left:", e.left.Load(), err)
		return 1
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fmt.Print(m.Sys >> 20)
	return 0
}

// The memory of a worker follows from Config.BatchBytes, and not from how large the events are, how many there are, or how many
// projections are far behind: at their first read as at any other, and where they were parked.
func TestMemoryDoesNotFollowTheSizeOfEvents(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name                            string
		events, size, projections, most int
		parked, live                    bool
	}{
		{name: "ManyOfOneMegabyte", events: 250, size: 1 << 20, projections: 1, most: 128},
		{name: "SomeOfEightMegabytes", events: 40, size: 8 << 20, projections: 1, most: 160},
		{name: "OneOfSixtyMegabytes", events: 1, size: 60 << 20, projections: 1, most: 220},
		{name: "FourProjectionsFarBehind", events: 80, size: 1 << 20, projections: 4, most: 160},
		{name: "Parked", events: 40, size: 8 << 20, projections: 1, most: 160, parked: true},
		{name: "FourProjectionsAtTheEndOfTheLog", events: 250, size: 1 << 20, projections: 4, most: 192, live: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, testdb.New(t))
			insert := func(n int) string {
				return fmt.Sprintf(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
					select 'large', gen_random_uuid(), 1, 'e', ('"' || repeat('y', %d - 2) || '"')::json from generate_series(1, %d)`, c.size, n)
			}
			live := ""
			if c.live {
				live = insert(c.events / 10)
			} else {
				s.exec(insert(c.events))
			}
			if c.parked {
				require.NoError(t, drainOne(s))
				s.exec(`insert into parked_events (projection_name, global_position, slot, event_id, aggregate_type, aggregate_id, aggregate_version,
						event_type, attempts, last_error, retry_requested_at)
					select 'p0', global_position, slot, event_id, aggregate_type, aggregate_id, aggregate_version, event_type, 1, 'x', now() from events`)
			}
			cmd := process.Command(t, "hungry", "HUNGRY_URL="+s.URL, "HUNGRY_PROJECTIONS="+strconv.Itoa(c.projections),
				"HUNGRY_EVENTS="+strconv.Itoa(c.events*c.projections), "HUNGRY_LIVE="+live, "GOMEMLIMIT=off", "GOGC=100")
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			require.NoError(t, err)
			most, err := strconv.Atoi(string(out))
			require.NoError(t, err)
			t.Logf("%d MiB", most)
			require.LessOrEqual(t, most, c.most)
		})
	}
}

// drainOne has everything handled once by the projection p0, in this process.
func drainOne(s *stage) error {
	w, err := rouse.New(s.Pool, rouse.Config{Projections: []rouse.Projection{sees{name: "p0", eaten: &eaten{all: make(chan struct{})}}}})
	if err != nil {
		return err
	}
	return w.Drain(s.ctx)
}
