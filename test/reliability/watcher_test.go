package reliability_test

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// lookEvery is how often the watcher looks at the checkpoints, and so how exact a recovery is.
const lookEvery = 20 * time.Millisecond

// watcher measures how long it takes after a fault until events are handled again. It looks at the checkpoints of the
// projection, on a connection of its own, and lives through every fault.
type watcher struct {
	url    string
	wg     sync.WaitGroup
	cancel context.CancelFunc

	mu     sync.Mutex // protects following fields
	owners [shardCount]string
	broken int // faults that are not healed
	open   []*recovery
	done   map[string][]recovered // by the name of the fault
}

// recovered is a recovery that is over.
type recovered struct {
	took  time.Duration
	alone bool // nothing else was broken or recovering meanwhile
}

// shardCount is into how many parts the watcher divides the log by slot, whatever the number of partitions is at the
// moment, which may change.
const shardCount = partitions

// recovery waits for the first event of each affected shard that was appended after a moment.
type recovery struct {
	fault string
	since time.Time
	waits map[int]int64 // shard: position of that event, 0 as long as there is none
	alone bool          // so far; see recovered
}

func startWatcher(url string) *watcher {
	ctx, cancel := context.WithCancel(context.Background())
	w := &watcher{url: url, cancel: cancel, done: map[string][]recovered{}}
	w.wg.Go(func() { w.run(ctx) })
	return w
}

func (w *watcher) stop() {
	w.cancel()
	w.wg.Wait()
}

// breaks is told that a fault is about to be injected.
func (w *watcher) breaks() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken++
	for _, r := range w.open {
		r.alone = false
	}
}

// heals is told that a fault is healed.
func (w *watcher) heals() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken--
}

// begin starts to measure the recovery from a fault that was told of by breaks and not yet by heals, in the shards that a worker owns, or in all of them if the label is "".
func (w *watcher) begin(fault, label string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := &recovery{fault: fault, since: time.Now(), waits: map[int]int64{}, alone: w.broken == 1 && len(w.open) == 0}
	for shard, owner := range w.owners {
		if label == "" || owner == label {
			r.waits[shard] = 0
		}
	}
	if len(r.waits) > 0 { // it may have been too young to own anything
		w.open = append(w.open, r)
	}
}

// owns tells whether a worker was seen to own something.
func (w *watcher) owns(label string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, owner := range w.owners {
		if owner == label {
			return true
		}
	}
	return false
}

// appended is told of an event by its appender: when its transaction began, and where the event went.
func (w *watcher) appended(began time.Time, position int64, slot int16) {
	w.mu.Lock()
	defer w.mu.Unlock()
	shard := int(slot) % shardCount
	for _, r := range w.open {
		if first, affected := r.waits[shard]; affected && began.After(r.since) && (first == 0 || position < first) {
			r.waits[shard] = position
		}
	}
}

// unfinished is how many recoveries are not over.
func (w *watcher) unfinished() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.open)
}

// recoveries are those that are over, by fault.
func (w *watcher) recoveries() map[string][]recovered {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.done
}

func (w *watcher) run(ctx context.Context) {
	var conn *pgx.Conn
	closeConn := func() {
		if conn != nil {
			bound, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_ = conn.Close(bound)
			conn = nil
		}
	}
	defer closeConn()
	for ; ctx.Err() == nil; pause(ctx, lookEvery) {
		bound, cancel := context.WithTimeout(ctx, 5*time.Second)
		var err error
		if conn == nil {
			conn, err = pgx.Connect(bound, w.url)
		}
		if err == nil {
			err = w.look(bound, conn)
		}
		cancel()
		if err != nil {
			closeConn()
		}
	}
}

// look finds out where the checkpoints stand, and ends the recoveries that they have reached.
func (w *watcher) look(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, statement("standing"), projectionName)
	if err != nil {
		return err
	}
	checkpoints, owners := map[int]int64{}, map[int]string{} // by partition
	var p int
	var position int64
	var owner string
	if _, err := pgx.ForEachRow(rows, []any{&p, &position, &owner}, func() error {
		checkpoints[p], owners[p] = position, owner
		return nil
	}); err != nil {
		return err
	}
	if len(checkpoints) > 0 {
		w.note(time.Now(), checkpoints, owners)
	}
	return nil
}

// note takes what look has found. A shard that is in several partitions stands where the last of them does.
func (w *watcher) note(now time.Time, checkpoints map[int]int64, owners map[int]string) {
	var standing [shardCount]int64
	for shard := range standing {
		standing[shard] = math.MaxInt64
	}
	for slot := range max(shardCount, len(checkpoints)) {
		shard, p := slot%shardCount, slot%len(checkpoints)
		standing[shard] = min(standing[shard], checkpoints[p])
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for shard := range w.owners {
		w.owners[shard] = owners[shard%len(owners)]
	}
	var open []*recovery
	for _, r := range w.open {
		for shard, position := range r.waits {
			if position > 0 && standing[shard] >= position {
				delete(r.waits, shard)
			}
		}
		if len(r.waits) > 0 {
			open = append(open, r)
		} else {
			w.done[r.fault] = append(w.done[r.fault], recovered{now.Sub(r.since), r.alone})
		}
	}
	w.open = open
}
