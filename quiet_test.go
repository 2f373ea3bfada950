package rouse_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/testdb"
)

// reads counts what a worker sends to read the log and to save, in round trips and in statements.
type reads struct {
	mu             sync.Mutex // protects the fields below
	glances, looks int        // round trips
	saves          int
	statements     int // of glances, looks and saves
}

func (r *reads) add(texts ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := strings.Join(texts, ";")
	switch {
	case strings.Contains(all, "from pg_trigger t") && strings.Contains(all, "pg_locks l"):
		r.looks++
	case strings.Contains(all, "generate_series"):
		r.glances++
	case strings.Contains(all, "set last_global_position"):
		r.saves++
	default:
		return
	}
	r.statements += len(texts)
}

// since returns what was sent since another time.
func (r *reads) since(before *reads) *reads {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &reads{
		glances: r.glances - before.glances, looks: r.looks - before.looks, saves: r.saves - before.saves, statements: r.statements - before.statements,
	}
}

// quietReader runs a worker until it sleeps, and returns what counts its reads.
func (b *bundle) quietReader(cfg rouse.Config) (*running, *reads) {
	b.t.Helper()
	r := &reads{}
	pool := b.poolWith(func(cfg *pgxpool.Config) { cfg.ConnConfig.Tracer = testdb.Sent(r.add) })
	w := b.start(pool, cfg).WaitStarted()
	require.NoError(b.t, w.Drain(b.ctx))
	testdb.Eventually(b.t, patience, "the worker to sleep until it is pushed", func() (bool, error) { return w.Status().Mode == "quiet", nil })
	return w, r
}

// An event that follows the last one without a hole costs a read of the head and of itself, and its transaction. Whether an append
// holds something back needs no look then; that comes once a second all the same.
func TestQuietEventIsReadWithoutALookAtTheLocks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w, sent := b.quietReader(rouse.Config{Projections: []rouse.Projection{batched{projection: projection{name: "p"}}}})
	b.append("first")
	require.NoError(t, w.Drain(b.ctx))
	before, began := sent.since(&reads{}), time.Now()
	const events = 60
	var at []int64
	for range events {
		at = append(at, b.append("e"))
		require.NoError(t, w.Drain(b.ctx))
	}
	n, seconds := sent.since(before), int(time.Since(began)/time.Second)
	t.Logf("%d events in %d s: %d glances, %d looks, %d saves, %d statements", events, seconds, n.glances, n.looks, n.saves, n.statements)
	require.LessOrEqual(t, n.looks, 2+2*seconds, "one of its own a second, and one beside a heartbeat that overtakes the push")
	require.LessOrEqual(t, n.saves, events+1+2*seconds)
	require.LessOrEqual(t, n.statements-5*n.looks-6*n.saves, 2*n.glances)
	require.Equal(t, at, b.done("p")[1:])
}

// A hole makes the reader look at the locks at once, and what waits behind an append that is open is not handed out.
func TestQuietReaderLooksAtTheLocksWhereThereIsAHole(t *testing.T) {
	t.Parallel()
	b := setup(t)
	w, sent := b.quietReader(rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}})
	at := []int64{b.append("below")}
	require.NoError(t, w.Drain(b.ctx))
	before := sent.since(&reads{})
	slow, err := b.Pool.Begin(b.ctx)
	require.NoError(t, err)
	defer func() { _ = slow.Rollback(b.ctx) }()
	var hole int64
	require.NoError(t, slow.QueryRow(b.ctx, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		values ('thing', gen_random_uuid(), 1, 'hole', '{}') returning global_position`).Scan(&hole))
	above := b.append("above")
	testdb.Eventually(t, patience, "some looks at the locks", func() (bool, error) { return sent.since(before).looks >= 3, nil })
	require.Equal(t, at, b.done("p"))
	require.NoError(t, slow.Commit(b.ctx))
	require.NoError(t, w.Drain(b.ctx))
	require.Equal(t, append(at, hole, above), b.done("p"))

	burnt, err := b.Pool.Begin(b.ctx)
	require.NoError(t, err)
	_, err = burnt.Exec(b.ctx, "select nextval(pg_get_serial_sequence('events', 'global_position'))")
	require.NoError(t, err)
	require.NoError(t, burnt.Rollback(b.ctx))
	behind := b.append("behind a position that nobody will fill")
	require.NoError(t, w.Drain(b.ctx))
	require.Equal(t, append(at, hole, above, behind), b.done("p"))
}

// Events that follow each other without a hole do not hide that a trigger is off: it is looked for once a second.
func TestQuietReaderNoticesATriggerThatIsOff(t *testing.T) {
	t.Parallel()
	for trigger, says := range map[string]string{
		"rouse_append_before": "standing still until the append trigger is back",
		"rouse_append_after":  "nothing wakes the worker",
	} {
		t.Run(trigger, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			log := &lines{}
			w, _ := b.quietReader(rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}, Log: zerolog.New(log)})
			b.append("with it")
			require.NoError(t, w.Drain(b.ctx))
			b.exec("alter table events disable trigger " + trigger)
			began := time.Now()
			testdb.Eventually(t, patience, "the worker to say so", func() (bool, error) {
				b.append("without it")
				return log.count(says) > 0, nil
			})
			t.Logf("noticed after %s", time.Since(began))
			b.exec("alter table events enable always trigger " + trigger)
			require.NoError(t, w.Drain(b.ctx))
			require.Len(t, b.done("p"), int(b.int("select count(*) from events")))
		})
	}
}
