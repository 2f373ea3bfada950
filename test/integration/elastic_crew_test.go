//go:build unix

package integration_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/signal"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/test/process"
)

func init() { roles["elastic-worker"] = elasticWorker }

// elasticEnv carries an elasticOrder to the worker's process.
const elasticEnv = "ROUSE_TEST_ELASTIC_WORKER"

// elasticProjection is what elastic workers run, in 32 partitions.
const elasticProjection = "elastic"

// elasticOrder is what the process of an elastic worker is told.
type elasticOrder struct {
	URL, Label string
	TTL        time.Duration
	Plain      bool // without the batch form, so that transactions last longer
	Holds      bool // every call of the handler lasts until the process ends
	Idle       time.Duration
	PollOnly   bool
}

// elasticWorker is the main function of the process. It ends by SIGTERM, and with the process that started it.
func elasticWorker() int {
	process.OutliveNobody()
	ctx, stop := signal.Context(context.Background())
	defer stop()
	if err := runElasticWorker(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func runElasticWorker(ctx context.Context) error {
	var order elasticOrder
	if err := json.Unmarshal([]byte(os.Getenv(elasticEnv)), &order); err != nil {
		return err
	}
	cfg, err := pgxpool.ParseConfig(order.URL)
	if err != nil {
		return errors.New("the URL of the database cannot be used")
	}
	cfg.MaxConns = 3
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer pool.Close()
	var projection rouse.Projection = batchRecorder{recorder{name: elasticProjection, worker: order.Label}}
	switch {
	case order.Plain:
		projection = recorder{name: elasticProjection, worker: order.Label}
	case order.Holds:
		projection = recorder{name: elasticProjection, worker: order.Label, hook: func(ctx context.Context, _ pgx.Tx, _ eventstore.Event) error {
			<-ctx.Done()
			return ctx.Err()
		}}
	}
	w, err := rouse.New(pool, rouse.Config{
		Projections: []rouse.Projection{projection}, Label: order.Label, LeaseTTL: order.TTL, BatchSize: 50,
		IdleInterval: order.Idle, PollOnly: order.PollOnly,
		Log: zerolog.New(os.Stderr).With().Timestamp().Logger(),
	})
	if err != nil {
		return err
	}
	return process.Work(ctx, w)
}

// crew is a stage with processes of elastic workers on it, by label.
type crew struct {
	*stage
	order   elasticOrder
	workers map[string]*process.Process
}

func newCrew(t *testing.T, order elasticOrder) *crew {
	t.Helper()
	c := newCrewOn(t, testdb.New(t), order)
	c.eventually(patience, "the server to be up for longer than a lease: until then nobody is declared dead",
		"select pg_postmaster_start_time() < clock_timestamp() - interval '6 seconds'")
	return c
}

// newCrewOn is a crew on a database of which nobody is declared dead for a while after the start of its server.
func newCrewOn(t *testing.T, db *testdb.DB, order elasticOrder) *crew {
	t.Helper()
	c := &crew{stage: newStage(t, db), order: order, workers: map[string]*process.Process{}}
	c.order.URL = c.URL
	t.Cleanup(c.disband)
	return c
}

// disband kills whoever is left.
func (c *crew) disband() {
	for _, w := range c.workers {
		w.Kill()
	}
}

// join starts a worker, without waiting for it.
func (c *crew) join(label string) {
	c.t.Helper()
	order := c.order
	order.Label = label
	encoded, err := json.Marshal(order)
	require.NoError(c.t, err)
	cmd := process.Command(c.t, "elastic-worker", elasticEnv+"="+string(encoded))
	c.workers[label], err = process.Start(c.t, cmd, label, process.Options{})
	require.NoError(c.t, err)
}

// leave tells a worker to stop and waits for its clean end.
func (c *crew) leave(label string) {
	c.t.Helper()
	w := c.workers[label]
	select {
	case <-w.Started: // before its start the signal would find nobody to take it
	case <-time.After(process.Patience):
		require.FailNow(c.t, label+" has not started", "%s", w.Log)
	}
	w.End(signalTerm)
	w.WantCleanExit()
	delete(c.workers, label)
}

// kill kills a worker.
func (c *crew) kill(label string) {
	c.t.Helper()
	w := c.workers[label]
	w.Kill()
	delete(c.workers, label)
}

// sharesSQL is the number of partitions of each living worker, the largest first; a null is for what nobody owns.
const sharesSQL = `select coalesce(array_agg(n order by n desc), '{}') from (
	select count(c.partition)::int as n
	from rouse_members m join projection_workers w using (instance_id)
	left join projection_checkpoints c on c.owner = m.instance_id and c.projection_name = $1
	where m.alive and not m.leaving group by m.instance_id) s`

// settled waits until the partitions are shared as they should be.
func (c *crew) settled(want ...int) {
	c.t.Helper()
	var got []int
	testdb.Eventually(c.t, patience, fmt.Sprintf("shares of %v", want), func() (bool, error) {
		if err := c.Pool.QueryRow(c.ctx, sharesSQL, elasticProjection).Scan(&got); err != nil {
			return false, err
		}
		if slices.Equal(got, want) {
			return true, nil
		}
		return false, fmt.Errorf("they are %v", got)
	})
}

// now is the server's clock.
func (c *crew) now() (now time.Time) {
	c.t.Helper()
	require.NoError(c.t, c.Pool.QueryRow(c.ctx, "select clock_timestamp()").Scan(&now))
	return now
}

// partitionsOf are the partitions that a label owns.
func (c *crew) partitionsOf(label string) (partitions []int) {
	c.t.Helper()
	require.NoError(c.t, c.Pool.QueryRow(c.ctx, `select coalesce(array_agg(c.partition), '{}') from projection_checkpoints c
		join projection_workers w on w.instance_id = c.owner where c.projection_name = $1 and w.label = $2`,
		elasticProjection, label).Scan(&partitions))
	return partitions
}

// takenOver waits until another worker has handled an event of these partitions that was appended after a moment, and returns
// how long after the moment that was, by the server's clock.
func (c *crew) takenOver(since time.Time, from string, partitions []int) time.Duration {
	c.t.Helper()
	var at time.Time
	testdb.Eventually(c.t, patience, "others to go on with the partitions of "+from, func() (bool, error) {
		err := c.Pool.QueryRow(c.ctx, `select coalesce(min(s.at), $1)
			from seen s join events e on e.global_position = s.global_position
			where s.projection = $4 and s.at > $1 and s.worker <> $2 and e.slot % 32 = any ($3)`,
			since, from, partitions, elasticProjection).Scan(&at)
		return err == nil && at.After(since), err
	})
	return at.Sub(since)
}

// times are what was measured, to be printed and read; a test does not judge them.
type times struct {
	what string
	all  []time.Duration
}

func (m *times) add(d time.Duration) { m.all = append(m.all, d) }

func (m *times) print(t *testing.T) {
	t.Helper()
	slices.Sort(m.all)
	at := func(p int) time.Duration { return m.all[(len(m.all)-1)*p/100].Round(time.Millisecond) }
	t.Logf("%s: %d times, p50 %v, p90 %v, p99 %v, longest %v", m.what, len(m.all), at(50), at(90), at(99), at(100))
}

// steadyAggregates is how many aggregates the steady load appends to in turn, enough for shares that are even.
const steadyAggregates = 5000

// steady appends so many events a second, to one aggregate after the other, until the test or the returned function ends it.
func (c *crew) steady(perSecond int) (stop func()) {
	c.t.Helper()
	ctx, cancel := context.WithCancel(c.ctx)
	pool := c.pool(c.URL)
	var wg sync.WaitGroup
	const beat = 20 * time.Millisecond
	size := max(perSecond*int(beat)/int(time.Second), 1)
	wg.Go(func() {
		tick := time.NewTicker(beat)
		defer tick.Stop()
		for n := 0; ; n += size {
			_, err := pool.Exec(ctx, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
				select 'thing', 'a' || n % $2, 1 + n / $2, 'happened', '{}' from generate_series($1::int, $1::int + $3::int - 1) n order by n`,
				n, steadyAggregates, size)
			if err != nil && ctx.Err() == nil {
				c.t.Errorf("append: %v", err)
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	stop = func() { cancel(); wg.Wait() }
	c.t.Cleanup(stop)
	return stop
}

// handledSince waits until so many events appended after a moment were handled, and returns how many each worker had.
func (c *crew) handledSince(since time.Time, n int) (by map[string]int) {
	c.t.Helper()
	const of = `from seen s join events e using (global_position) where s.projection = '` + elasticProjection + `' and e.created_at > $1`
	c.eventually(patience, fmt.Sprintf("%d events to be handled", n), "select count(*) >= $2 "+of, since, n)
	rows, err := c.Pool.Query(c.ctx, "select s.worker, count(*)::int "+of+" group by 1", since)
	require.NoError(c.t, err)
	defer rows.Close()
	by = map[string]int{}
	for rows.Next() {
		var worker string
		var handled int
		require.NoError(c.t, rows.Scan(&worker, &handled))
		by[worker] = handled
	}
	require.NoError(c.t, rows.Err())
	return by
}
