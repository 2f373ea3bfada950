package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse"
)

// latencyPause is the pause between two timed appends: a calm log, well below what makes a torrent.
const latencyPause = 8 * time.Millisecond

// latency prints the time from an append's acknowledged commit to the acknowledged commit of its effect, for Rouse and for
// the floor: a loop written by hand that is notified, selects, and commits effect and checkpoint in one round trip, without
// any of the promises. The two take turns, event by event.
func (b *bench) latency(ctx context.Context) error {
	if _, err := b.pool.Exec(ctx, "alter table events enable always trigger rouse_append_after"); err != nil {
		return err
	}
	handled := newBell()
	_, stop, err := b.worker(ctx, rouse.Observer{Handled: func(string, int, time.Duration) { handled.ring() }})
	if err != nil {
		return err
	}
	defer stop()
	floor := newBell()
	floorCtx, stopFloor := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- b.floor(floorCtx, floor) }()
	defer func() { stopFloor(); <-ran }()
	if err := floor.wait(ctx); err != nil { // it rings once when it listens
		return err
	}
	writer, err := pgx.Connect(ctx, b.url)
	if err != nil {
		return err
	}
	defer func() { _ = writer.Close(ctx) }()

	const appendEvent = `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		values ('account', 'latency', $1, 'MoneyDeposited', '{"amount": 1250, "currency": "EUR"}')`
	const appendFloor = `insert into floor_log (aggregate_id, payload) values ('latency', '{"amount": 1250, "currency": "EUR"}')`
	var ours, theirs []time.Duration
	for i := range b.events {
		took, err := timed(ctx, handled, func() error { _, err := writer.Exec(ctx, appendEvent, i+1); return err })
		if err != nil {
			return err
		}
		ours = append(ours, took)
		if took, err = timed(ctx, floor, func() error { _, err := writer.Exec(ctx, appendFloor); return err }); err != nil {
			return err
		}
		theirs = append(theirs, took)
	}
	fmt.Printf("\ncommit to handled and committed, one event every %s, %d of each in turn (ms)\n", 2*latencyPause, b.events)
	fmt.Printf("%28s %8s %8s %8s\n", "", "p50", "p90", "p99")
	for _, row := range []struct {
		name string
		of   []time.Duration
	}{{"NOTIFY + SELECT + COMMIT", theirs}, {"rouse", ours}} {
		fmt.Printf("%28s %8.2f %8.2f %8.2f\n", row.name, percentile(row.of, 50), percentile(row.of, 90), percentile(row.of, 99))
	}
	fmt.Printf("%28s %8.2f %8.2f %8.2f\n", "ratio", percentile(ours, 50)/percentile(theirs, 50),
		percentile(ours, 90)/percentile(theirs, 90), percentile(ours, 99)/percentile(theirs, 99))
	return nil
}

func timed(ctx context.Context, done *bell, write func() error) (time.Duration, error) {
	time.Sleep(latencyPause)
	done.clear()
	if err := write(); err != nil {
		return 0, err
	}
	committed := time.Now()
	if err := done.wait(ctx); err != nil {
		return 0, err
	}
	return max(done.at().Sub(committed), 0), nil
}

func percentile(of []time.Duration, p int) float64 {
	sorted := slices.Sorted(slices.Values(of))
	return float64(sorted[(len(sorted)-1)*p/100].Microseconds()) / 1000
}

// floor is the worker that anybody would write first.
func (b *bench) floor(ctx context.Context, done *bell) error {
	listen, err := pgx.Connect(ctx, b.url)
	if err != nil {
		return err
	}
	defer func() { _ = listen.Close(context.WithoutCancel(ctx)) }()
	work, err := pgx.Connect(ctx, b.url)
	if err != nil {
		return err
	}
	defer func() { _ = work.Close(context.WithoutCancel(ctx)) }()
	if _, err := listen.Exec(ctx, "listen floor"); err != nil {
		return err
	}
	done.ring()
	last := int64(0)
	for {
		if _, err := listen.WaitForNotification(ctx); err != nil {
			return err
		}
		if last, err = floorStep(ctx, work, last); err != nil {
			return err
		}
		done.ring()
	}
}

func floorStep(ctx context.Context, work *pgx.Conn, last int64) (int64, error) {
	rows, err := work.Query(ctx, "select id, aggregate_id, payload from floor_log where id > $1 order by id limit 500", last)
	if err != nil {
		return last, err
	}
	ids := []string{}
	for rows.Next() {
		var id string
		var payload []byte
		if err := rows.Scan(&last, &id, &payload); err != nil {
			return last, err
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		return last, err
	}
	var batch pgx.Batch
	batch.Queue("begin")
	batch.Queue("set local synchronous_commit = off")
	batch.Queue(sqlCount, ids[:1], []int64{int64(len(ids))})
	batch.Queue("update floor_checkpoint set last = $1", last)
	batch.Queue("commit")
	return last, work.SendBatch(ctx, &batch).Close()
}

// bell remembers when it was rung last.
type bell struct {
	rung chan struct{} // buffered to 1; the latest ring is enough
	mu   sync.Mutex    // protects when
	when time.Time
}

func newBell() *bell { return &bell{rung: make(chan struct{}, 1)} }

func (b *bell) ring() {
	b.mu.Lock()
	b.when = time.Now()
	b.mu.Unlock()
	select {
	case b.rung <- struct{}{}:
	default:
	}
}

func (b *bell) clear() {
	select {
	case <-b.rung:
	default:
	}
}

func (b *bell) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	select {
	case <-b.rung:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("an event was not handled within ten seconds: %w", ctx.Err())
	}
}

func (b *bell) at() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.when
}
