package reliability_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/parked"
	"github.com/rouse-es/rouse/projection"
)

// serviceAway has the service of the effect refuse everything; see hostility.away.
func (a *arena) serviceAway(says bool) fault {
	return simple{"service away",
		func(context.Context) error { return a.hostile.away(says) },
		func(context.Context) error { return a.hostile.back() }}
}

// resizeTime bounds a change of the number of partitions, which waits for workers that are killed or frozen.
const resizeTime = time.Minute

// resize changes the number of partitions of both.
func (a *arena) resize(to int) fault {
	return simple{name: "resize", inject: func(ctx context.Context) error {
		a.shareMu.Lock()
		defer a.shareMu.Unlock()
		ctx, cancel := context.WithTimeout(ctx, resizeTime)
		defer cancel()
		for _, name := range []string{projectionName, effectName} {
			if _, err := projection.Resize(ctx, a.db.pool, name, to); err != nil {
				return fmt.Errorf("%s to %d: %w", name, to, err)
			}
		}
		return nil
	}}
}

// disturbed notes that an entry is over that may explain why an effect was done again. A worker that is told to stop saves
// what it has done, nobody loses anything by a change of the number of partitions, and the door is not a worker's.
func (a *arena) disturbed(e entry, from time.Time) {
	seat := ""
	switch e.kind.target {
	case services, shares:
		return
	case workers, networks:
		if e.seat == noSeat || e.kind.name == leaves {
			return
		}
		seat = a.seats[e.seat].name()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.disturbances = append(a.disturbances, disturbance{seat, from, time.Now()})
}

// disturbancesOfAll are those of the schedule, and the processes that a handler has ended.
func (a *arena) disturbancesOfAll() ([]disturbance, error) {
	data, err := os.ReadFile(a.hostile.path(exitsFile))
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	all := append([]disturbance{}, a.disturbances...)
	for line := range strings.Lines(string(data)) {
		var label string
		var at int64
		if _, err := fmt.Sscan(line, &label, &at); err != nil {
			return nil, err
		}
		moment := time.Unix(0, at)
		all = append(all, disturbance{doing{worker: label}.seat(), moment, moment})
	}
	return all, nil
}

// waiting is an event that waits for people, with what its handler said last.
type waiting struct {
	projection, aggregate string
	version               int64
	attempts              int
	err                   string
}

// makePeace has the handlers be good to every event, and everything handled that was set aside. Before that it looks at who
// waits for people without a bad event of its own.
func (a *arena) makePeace() {
	if a.hostile == nil {
		return
	}
	require.NoError(a.t, a.hostile.back())
	a.innocent = a.innocents()
	require.NoError(a.t, a.hostile.tell(peace))
	began := time.Now()
	var left int64
	if err := a.wait(func() (bool, error) { return a.retryAll(&left) }); err != nil {
		a.t.Logf("%d events are still set aside: %v", left, err)
	}
	a.t.Logf("everything that was set aside was handled %v after peace", time.Since(began).Round(time.Millisecond))
}

// retryAll asks for everything that is set aside to be handled, and reports whether nothing is.
func (a *arena) retryAll(left *int64) (bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, name := range []string{projectionName, effectName} {
		if _, err := parked.Retry(ctx, a.db.pool, parked.Filter{Projection: name}); err != nil {
			return false, err
		}
	}
	pause(ctx, 200*time.Millisecond)
	err := a.db.pool.QueryRow(ctx, statement("parked")).Scan(left)
	return *left == 0, err
}

// innocents are the events that wait for people and that no handler has trouble with.
func (a *arena) innocents() (innocents []waiting) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	all := 0
	require.NoError(a.t, forEach(ctx, a.db, "waiting", nil, func(rows pgx.Rows) error {
		var w waiting
		err := rows.Scan(&w.projection, &w.aggregate, &w.version, &w.attempts, &w.err)
		if all++; a.hostile.of(w.aggregate, w.version).harmless() {
			innocents = append(innocents, w)
		}
		return err
	}))
	a.t.Logf("%d events wait for people, %d of them for nothing", all, len(innocents))
	for _, w := range innocents[:min(len(innocents), 10)] {
		a.t.Logf("for nothing: %+v", w)
	}
	return innocents
}
