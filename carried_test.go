package rouse_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/migrations"
)

// carry has the pushes of the log carry events, or not.
func (b *bundle) carry(on bool) {
	b.t.Helper()
	require.NoError(b.t, migrations.Carry(b.ctx, b.Conn(b.t), on, nil))
}

// Where pushes carry the events, a calm log is not read at all: but for a look once a second, and, where events come fast, one glance in a
// tenth of a second, and a look where that meets the next append.
func TestCarriedEventIsNotRead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.carry(true)
	w, sent := b.quietReader(rouse.Config{Projections: []rouse.Projection{batched{projection: projection{name: "p"}}}})
	at := []int64{b.append("first")}
	require.NoError(t, w.Drain(b.ctx))
	const events = 100
	var n *reads
	var tenths int
	// A machine that stands still may keep a push from the worker for so long that it reads, and then there is another try.
	for try := 0; try < 10 && (try == 0 || n.glances > tenths || n.looks > tenths+2*(tenths/10+1)); try++ {
		before, began := sent.since(&reads{}), time.Now()
		for range events {
			at = append(at, b.append("e"))
			require.NoError(t, w.Drain(b.ctx))
		}
		took := time.Since(began)
		n, tenths = sent.since(before), int(took/(100*time.Millisecond))+1
		t.Logf("%d events in %s: %d glances, %d looks, %d saves", events, took, n.glances, n.looks, n.saves)
	}
	require.LessOrEqual(t, n.glances, tenths, "a glance for each tenth of a second, and not for each event")
	require.LessOrEqual(t, n.looks, tenths+2*(tenths/10+1))
	require.Equal(t, at, b.done("p"))
}

// What is committed above an open append is carried, and waits all the same; and what is above a position that was rolled back does not
// wait for ever.
func TestCarriedEventAboveAnOpenAppendWaits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.carry(true)
	w, sent := b.quietReader(rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}})
	at := []int64{b.append("below")}
	require.NoError(t, w.Drain(b.ctx))
	for _, commits := range []bool{true, false, true} {
		testdb.Eventually(t, patience, "the worker to sleep", func() (bool, error) { return w.Status().Mode == "quiet", nil })
		before := sent.since(&reads{})
		slow, err := b.Conn(t).Begin(b.ctx)
		require.NoError(t, err)
		var hole int64
		require.NoError(t, slow.QueryRow(b.ctx, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
			values ('thing', gen_random_uuid(), 1, 'hole', '{}') returning global_position`).Scan(&hole))
		above := []int64{b.append("above"), b.append("above")}
		testdb.Eventually(t, patience, "some looks at the locks", func() (bool, error) { return sent.since(before).looks >= 3, nil })
		require.Equal(t, at, b.done("p"), "what is above the hole must wait")
		if commits {
			require.NoError(t, slow.Commit(b.ctx))
			at = append(at, hole)
		} else {
			require.NoError(t, slow.Rollback(b.ctx))
		}
		at = append(at, above...)
		require.NoError(t, w.Drain(b.ctx))
		require.Equal(t, at, b.done("p"))
		at = append(at, b.append("next"))
		require.NoError(t, w.Drain(b.ctx))
		require.Equal(t, at, b.done("p"))
	}
}

// Whatever comes in the way, each projection handles every event once, and those of an aggregate in order: many writers, rollbacks,
// events too large to be carried, torrents, pushes that begin and cease to carry under the worker, other keys, lost connections, workers
// that poll and workers that may not read the key.
func TestCarriedEventsAreHandledOnceAndInOrder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	role, poor := b.role()
	var log logged
	b.exec("grant select on done to " + role)
	rich := b.pool(pgx.QueryExecModeCacheStatement)
	for name, w := range map[string]struct {
		pool *pgxpool.Pool
		cfg  rouse.Config
	}{
		"carried": {rich, rouse.Config{}},
		"typed":   {b.pool(pgx.QueryExecModeCacheStatement), rouse.Config{}},
		"polls":   {b.pool(pgx.QueryExecModeCacheStatement), rouse.Config{PollOnly: true}},
		"may not": {poor, rouse.Config{Log: zerolog.New(&log)}},
	} {
		p := projection{name: name}
		w.cfg.Projections = []rouse.Projection{batched{projection: p}}
		if name == "typed" {
			w.cfg.Projections = []rouse.Projection{typedOdd{p}}
		}
		b.start(w.pool, w.cfg).WaitStarted()
	}
	b.carry(true)

	const aggregates, each = 6, 60
	var writers sync.WaitGroup
	for a := range aggregates {
		conn := b.Conn(t)
		writers.Go(func() {
			for v := 1; v <= each; v++ {
				if err := b.write(conn, a, v); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for n := range 6 {
		b.carry(n%3 != 1)
		_, err := b.Pool.Exec(b.ctx, "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and query ilike 'listen %'")
		require.NoError(t, err)
	}
	writers.Wait()
	for range 20 { // at the end, in a calm log, by carried events alone
		b.append("odd")
	}
	all := b.int("select count(*) from events")
	for name, want := range map[string]int64{"carried": all, "polls": all, "may not": all, "typed": b.int("select count(*) from events where event_type = 'odd'")} {
		testdb.Eventually(t, patience, name+" to handle all", func() (bool, error) { return int64(len(b.done(name))) >= want, nil })
		require.Equal(t, want, b.int("select count(distinct position) from done where projection = $1", name), name)
		require.Equal(t, want, int64(len(b.done(name))), name)
		require.Zero(t, b.int(`select count(*) from (select position < lag(position) over (partition by aggregate_id order by n) as back
			from done join events on global_position = position where projection = $1) o where back`, name), name)
	}
	log.says(t, "may not read the key", "grant select on rouse_push_key")
}

// typedOdd wants the events of one type.
type typedOdd struct{ projection }

func (typedOdd) EventTypes() []string { return []string{"odd"} }

// typedThings wants the events of one type of aggregates.
type typedThings struct{ batched }

func (typedThings) AggregateTypes() []string { return []string{"thing"} }

// typedBoth wants the events of one type, of one type of aggregates.
type typedBoth struct{ typedThings }

func (typedBoth) EventTypes() []string { return []string{"odd"} }

// Who wants some types only gets those of what is carried, and passes over the others.
func TestCarriedEventsOfOtherTypesArePassedOver(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.carry(true)
	of := func(name string) batched { return batched{projection: projection{name: name}} }
	w, sent := b.quietReader(rouse.Config{Projections: []rouse.Projection{of("all"), typedThings{of("things")}, typedBoth{typedThings{of("both")}}}})
	b.append("first")
	require.NoError(t, w.Drain(b.ctx))
	before, began := sent.since(&reads{}), time.Now()
	for n := range 40 {
		b.exec("insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values ($1, $2, 1, $3, '{}')",
			[]string{"thing", "other"}[n%2], fmt.Sprint("a", n), []string{"odd", "even"}[n/2%2])
		require.NoError(t, w.Drain(b.ctx))
	}
	n, took := sent.since(before), time.Since(began)
	require.LessOrEqual(t, n.glances, int(took/(100*time.Millisecond))+1, "they were carried, and not read")
	for name, where := range map[string]string{"all": "true", "things": "aggregate_type = 'thing'", "both": "aggregate_type = 'thing' and event_type = 'odd'"} {
		rows, err := b.Pool.Query(b.ctx, "select global_position from events where "+where+" order by global_position")
		require.NoError(t, err)
		want, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		require.NoError(t, err)
		require.Equal(t, want, b.done(name), name)
	}
}

// write appends version v of an aggregate: in a transaction of its own, in one behind a rollback, or too large to be carried.
func (b *bundle) write(conn *pgx.Conn, aggregate, v int) error {
	const one = `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		values ('thing', $1, $2, $3, to_json(repeat('x', $4::int)))`
	size := 10
	if v%10 == 0 {
		size = 9000
	}
	args := []any{fmt.Sprint("a", aggregate), v, []string{"even", "odd"}[v%2], size}
	if v%7 == 0 {
		tx, err := conn.Begin(b.ctx)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(b.ctx, one, args...); err != nil {
			return err
		}
		if err := tx.Rollback(b.ctx); err != nil {
			return err
		}
	}
	_, err := conn.Exec(b.ctx, one, args...)
	return err
}

// A notification that a stranger has made up brings no event, where a genuine one would.
func TestForgedPushBringsNoEvent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.carry(true)
	var mu sync.Mutex
	var ids []eventstore.ID // as they were handled
	seen := func(_ context.Context, _ pgx.Tx, ev eventstore.Event) error {
		mu.Lock()
		defer mu.Unlock()
		ids = append(ids, ev.ID)
		return nil
	}
	w, _ := b.quietReader(rouse.Config{Projections: []rouse.Projection{projection{name: "p", hook: seen}}})
	channel := "rouse_" + b.text("select 'events'::regclass::oid::text")
	ears := b.Conn(t) // as of a process that sleeps all the time, so that every append tells
	_, err := ears.Exec(b.ctx, "listen "+channel+"; select pg_advisory_lock_shared(1919907155, 'events'::regclass::oid::bigint::int)", pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
	var want []eventstore.ID
	for range 30 {
		at := b.append("genuine")
		require.NoError(t, w.Drain(b.ctx))
		n, err := ears.WaitForNotification(b.ctx)
		require.NoError(t, err)
		digits := func(at int64) string { return fmt.Sprintf("\n%016x", at) }
		require.Contains(t, n.Payload, digits(at))
		for _, payload := range []string{n.Payload, strings.Replace(n.Payload, digits(at), digits(at+1), 1), ""} {
			_, err := b.Pool.Exec(b.ctx, "select pg_notify($1, $2)", channel, payload)
			require.NoError(t, err)
			_, err = ears.WaitForNotification(b.ctx)
			require.NoError(t, err)
		}
	}
	require.NoError(t, w.Drain(b.ctx))
	rows, err := b.Pool.Query(b.ctx, "select event_id from events order by global_position")
	require.NoError(t, err)
	want, err = pgx.CollectRows(rows, pgx.RowTo[eventstore.ID])
	require.NoError(t, err)
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, want, slices.Clone(ids))
}
