// Command scaling shows how one projection is shared by 1 to N workers: see README.md.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/app"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/migrations"
	"github.com/rouse-es/rouse/partition"
)

// defaultURL is the database where no variable names another one: ../README.md says how to make it.
const defaultURL = "postgres://postgres:postgres@localhost:5432/pupsourcing_example?sslmode=disable"

func main() {
	if os.Getenv("DATABASE_URL")+os.Getenv("PGHOST")+os.Getenv("PGDATABASE")+os.Getenv("PGSERVICE") == "" {
		_ = os.Setenv("DATABASE_URL", defaultURL)
	}
	o, err := readOptions()
	app.Run(func(ctx context.Context, env app.Env) error {
		if err != nil {
			return err
		}
		return run(ctx, env.Pool, o)
	})
}

func run(ctx context.Context, pool *pgxpool.Pool, o options) error {
	if err := migrations.Check(ctx, pool); err != nil {
		return fmt.Errorf("%w; for the examples: cd ../basic && go generate", err)
	}
	if _, err := pool.Exec(ctx, createTable); err != nil {
		return err
	}
	switch {
	case o.append && o.rate > 0:
		return keepAppending(ctx, pool, o.rate)
	case o.append:
		return appendOnce(ctx, pool)
	}
	return work(ctx, pool, o)
}

// options are the flags and variables of the program.
type options struct {
	id           string
	index, total int // of a static worker; total 0: elastic
	append       bool
	rate         float64
}

func readOptions() (o options, err error) {
	flag.StringVar(&o.id, "worker-id", os.Getenv("WORKER_ID"), "name of this worker, and its number where --total-workers is given; default: the process id (env WORKER_ID)")
	total := flag.String("total-workers", os.Getenv("TOTAL_WORKERS"), "how many workers there are in all, each with its number as --worker-id; not given: workers share by themselves (env TOTAL_WORKERS)")
	flag.BoolVar(&o.append, "append", false, "append an event for each of 20 users, and end")
	flag.Float64Var(&o.rate, "rate", 0, "with --append: go on with so many events per second until Ctrl+C")
	flag.Parse()
	switch {
	case flag.NArg() > 0:
		return o, fmt.Errorf("%q is not a flag of this program (see --help)", flag.Arg(0))
	case o.rate < 0 || o.rate > 10_000:
		return o, fmt.Errorf("--rate %g: from 0 to 10000 events per second", o.rate)
	case o.rate > 0 && !o.append:
		return o, fmt.Errorf("--rate %g goes with --append", o.rate)
	case *total == "":
		o.id = cmp.Or(o.id, strconv.Itoa(os.Getpid()))
		return o, nil
	case o.append:
		return o, nil // any process may append
	}
	if o.total, err = strconv.Atoi(*total); err != nil || o.total < 1 {
		return o, fmt.Errorf("TOTAL_WORKERS or --total-workers is %q: give the number of all workers, or leave it out for workers that share by themselves", *total)
	}
	if o.id == "" {
		return o, fmt.Errorf("TOTAL_WORKERS=%d needs WORKER_ID or --worker-id: a number from 0 to %d, or NAME-N", o.total, o.total-1)
	}
	o.index, err = partition.ParseIndex(o.id, o.total)
	return o, err
}

// work runs one worker until ctx is cancelled.
func work(ctx context.Context, pool *pgxpool.Pool, o options) error {
	p := &projection{worker: o.id}
	shares := make(chan int, 1) // the last number of partitions that is not printed yet
	w, err := rouse.New(pool, rouse.Config{
		Projections: []rouse.Projection{p},
		Label:       o.id,
		WorkerIndex: o.index, TotalWorkers: o.total,
		Observer: rouse.Observer{Handled: p.committed, Owns: func(_ string, partitions []int) {
			select { // in place of one that nobody has come to
			case <-shares:
			default:
			}
			shares <- len(partitions)
		}},
		Log: zerolog.New(zerolog.ConsoleWriter{Out: os.Stderr}).Level(zerolog.WarnLevel),
	})
	if err != nil {
		return err
	}
	if o.total > 0 {
		fmt.Printf("[Worker %s] Worker %d of %d, until Ctrl+C\n", o.id, o.index, o.total)
	} else {
		fmt.Printf("[Worker %s] Working, until Ctrl+C\n", o.id)
	}
	var printing sync.WaitGroup
	printCtx, stop := context.WithCancel(ctx)
	printing.Go(func() { printShares(printCtx, pool, o.id, shares) })
	err = w.Run(ctx)
	stop()
	printing.Wait()
	fmt.Printf("[Worker %s] Stopped after %d events\n", o.id, p.total.Load())
	return err
}

// printShares prints which share of the partitions the worker has, whenever it has another one, until ctx ends. While partitions
// change hands it has none for a moment, of which nothing is said.
func printShares(ctx context.Context, pool *pgxpool.Pool, worker string, shares <-chan int) {
	for last := 0; ; {
		var share, all int
		select {
		case <-ctx.Done():
			return
		case share = <-shares:
		}
		if share == 0 || share == last {
			continue
		}
		err := pool.QueryRow(ctx, "select partitions from projections where projection_name = 'scalable_projection'").Scan(&all)
		if err == nil && all > 0 {
			last = share
			fmt.Printf("[Worker %s] Share: %.0f %%, %d of %d partitions\n", worker, 100*float64(share)/float64(all), share, all)
		}
	}
}

// projection counts the events of every aggregate, whatever its type. One goroutine uses it at a time, because Config.Concurrency
// is 1 here, its default.
type projection struct {
	worker string
	inHand []eventstore.Event // handled in the transaction that is open
	total  atomic.Int64       // handled and committed by this process
}

// The read model. out_of_order counts events whose version did not follow the one before: it stays 0. The lock is there because two
// processes that create one table at once disturb each other even with "if not exists".
const (
	createTable = `
		select pg_advisory_xact_lock(hashtext('scaling_activity'));
		create table if not exists scaling_activity (
			aggregate_type text not null,
			aggregate_id   text not null,
			events         bigint not null,
			last_version   bigint not null,
			out_of_order   bigint not null,
			worker_id      text not null,
			primary key (aggregate_type, aggregate_id)
		) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000)`

	// $1 and $2: the aggregate; $3: version of the event; $4: the worker.
	countEvent = `
		insert into scaling_activity as s (aggregate_type, aggregate_id, events, last_version, out_of_order, worker_id)
		values ($1, $2, 1, $3, ($3 <> 1::bigint)::int, $4)
		on conflict (aggregate_type, aggregate_id) do update
		set events = s.events + 1,
		    last_version = excluded.last_version,
		    out_of_order = s.out_of_order + (excluded.last_version <> s.last_version + 1)::int,
		    worker_id = excluded.worker_id`
)

// Name names the checkpoints of the projection.
func (*projection) Name() string { return "scalable_projection" }

// Apply counts one event. It is used to find the event to blame when a batch fails.
func (p *projection) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	p.inHand = []eventstore.Event{ev}
	_, err := tx.Exec(ctx, countEvent, p.args(ev)...)
	return err
}

// ApplyBatch counts many events in one round trip.
func (p *projection) ApplyBatch(_ context.Context, batch *pgx.Batch, events []eventstore.Event) error {
	p.inHand = events
	for _, ev := range events {
		batch.Queue(countEvent, p.args(ev)...)
	}
	return nil
}

func (p *projection) args(ev eventstore.Event) []any {
	return []any{ev.AggregateType, ev.AggregateID, ev.AggregateVersion, p.worker}
}

// committed prints the events whose transaction has just been committed. Printed by Apply, an event whose transaction is
// rolled back and done again would appear twice.
func (p *projection) committed(string, int, time.Duration) {
	for _, ev := range p.inHand {
		fmt.Printf("[Worker %s] Processing: %s (aggregate: %.8s) - Worker total: %d\n", p.worker, who(ev), ev.AggregateID, p.total.Add(1))
	}
	p.inHand = nil
}

// who is the user that an event is about, or the type of an event that is about something else.
func who(ev eventstore.Event) string {
	var user userSeen
	if json.Unmarshal(ev.Payload, &user) != nil || user.Name == "" {
		return ev.Type
	}
	return user.Name
}

// userSeen is the payload of the events of this program.
type userSeen struct {
	Name string `json:"name"`
}

// users are the aggregates that this program appends to: 20, in as many of the 32 partitions. Workers with a quarter, a
// third or a half of the partitions have about as much of the users.
var users = []string{
	"dd44fd36-4511-4889-801e-dc8e367e5d6d", "14186ebf-9a81-47e9-bb86-2eace1d7300f", "c4eb26e0-0654-49e4-b09e-7f98746fe5b9",
	"4105cca7-b533-42fc-954c-d2aad7185dda", "5387f613-76c4-48ae-8732-1cc007b37e14", "32d03fdd-a123-4501-90f5-380e12b2a414",
	"3f8a2b1c-1653-4f4c-b953-0168e7ff25b9", "902a174f-11fa-4ac0-879d-d25a49fe85b0", "b4ff00ae-3f13-47de-a274-ea181e34b3f1",
	"d48dd9f3-5436-4c21-9c3e-cb54c5cefdd8", "320094ea-d7a9-4ded-9749-1e2370c6a5b8", "13041452-12ca-4f70-a2dc-08d64bdbf090",
	"4b4d8474-a3ea-484d-bbd0-334684e55160", "ed52a241-35b0-4a54-b6a8-0bdf0023b682", "99809225-3def-4a38-a12b-2b8f30b17d0b",
	"73f778aa-f6fa-4db8-a56a-bd72fb710734", "244caf9c-4dab-4481-b253-edc618187993", "1b98fbe4-6680-4a11-9ba1-192ec42b7170",
	"e3eff9c0-cf44-4d3f-89e7-d15f17362f25", "986e86cb-0ab8-4b67-a26b-7f62b1852f27",
}

// appendOnce appends one event of each user, all or none.
func appendOnce(ctx context.Context, pool *pgxpool.Pool) error {
	all := make([]int, len(users))
	for i := range all {
		all[i] = i
	}
	if err := appendEvents(ctx, pool, all...); err != nil {
		return err
	}
	fmt.Printf("Appended %d events, one for each of %d users\n", len(all), len(users))
	return nil
}

// keepAppending appends an event of one user after the other until ctx is cancelled.
func keepAppending(ctx context.Context, pool *pgxpool.Pool, rate float64) error {
	fmt.Printf("Appending %g events per second, until Ctrl+C\n", rate)
	tick := time.NewTicker(time.Duration(float64(time.Second) / rate))
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			fmt.Printf("Appended %d events\n", n)
			return nil
		case <-tick.C:
		}
		if err := appendEvents(ctx, pool, n%len(users)); err != nil {
			return err
		}
	}
}

// appendEvents appends one event of each of these users in one transaction, which is finished when ctx is cancelled meanwhile.
// The users are in order, so that two programs that do this at once wait for each other in turn and not in a circle.
func appendEvents(ctx context.Context, pool *pgxpool.Pool, which ...int) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	return pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		for _, i := range which {
			payload, err := json.Marshal(userSeen{Name: fmt.Sprintf("User %d", i+1)})
			if err != nil {
				return err
			}
			stream := eventstore.Stream{Type: "user", ID: users[i]}
			if _, err := eventstore.Append(ctx, tx, stream, eventstore.Any(), eventstore.NewEvent{Type: "UserSeen", Payload: payload}); err != nil {
				return err
			}
		}
		return nil
	})
}
