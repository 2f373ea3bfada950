package rouse_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/parked"
	operator "github.com/rouse-es/rouse/projection"
	"github.com/rouse-es/rouse/retention"
)

// What operators do with events that were set aside they may do with those that are wanted later: have them asked for sooner, take them out,
// resize, prune and erase around them, and rename their projection. None is lost by it, none is handled early, and the order stays.
func TestOperatorsSteerWhatIsWantedLater(t *testing.T) {
	t.Parallel()
	b := setup(t)
	l := &later{due: time.Now().AddDate(1, 0, 0)}
	observer, blame := blameless(t)
	named := func(name string) rouse.Config {
		return rouse.Config{Concurrency: 3, Observer: observer, Projections: []rouse.Projection{
			projection{name: name, hook: func(_ context.Context, _ pgx.Tx, ev eventstore.Event) error { return l.fail(ev) }},
		}}
	}
	b.deadlines(4)
	w := b.start(b.Pool, named("p")).WaitStarted()
	b.caughtUp("p")
	testdb.Eventually(t, patience, "all to be set aside", func() (bool, error) { return b.int("select count(*) from parked_events") == 8, nil })
	far := "select count(*) from parked_events where due_at > clock_timestamp() + interval '300 days' and attempts + tries + died = 0 and last_error = ''"
	require.EqualValues(t, 4, b.int(far))

	asked := l.calls.Load()
	n, err := parked.Retry(b.ctx, b.Pool, parked.Filter{Projection: "p", Aggregate: eventstore.Stream{Type: "thing", ID: "d1"}})
	require.NoError(t, err)
	require.EqualValues(t, 2, n)
	testdb.Eventually(t, patience, "the handler to be asked, and to want it later again", func() (bool, error) {
		return l.calls.Load() > asked && b.int(far) == 4, nil
	})
	require.Zero(t, b.int("select count(*) from parked_events where due_at is null and attempts + tries + died > 0"), "and nothing is left of it at what is behind")

	first := b.int("select min(global_position) from parked_events where aggregate_id = 'd2'")
	n, err = parked.Discard(b.ctx, b.Pool, parked.Filter{Projection: "p", Position: first})
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	testdb.Eventually(t, patience, "what was behind it to be handled", func() (bool, error) {
		return b.int("select count(*) from done d join events e on e.global_position = d.position where e.aggregate_id = 'd2'") == 1, nil
	})

	_, err = operator.Resize(b.ctx, b.Pool, "p", 64)
	require.NoError(t, err)
	_, err = operator.Resize(b.ctx, b.Pool, "p", 8)
	require.NoError(t, err)
	_, err = operator.Resize(b.ctx, b.Pool, "p", 32)
	require.NoError(t, err)

	plan, err := retention.PlanPrune(b.ctx, b.Pool, retention.PruneOptions{})
	require.NoError(t, err)
	require.Equal(t, b.int("select min(global_position) - 1 from parked_events"), plan.Until, "what is deferred stays in the log")

	_, err = retention.Erase(b.ctx, b.Pool, eventstore.Stream{Type: "thing", ID: "d3"}, retention.EraseOptions{Delete: true})
	require.NoError(t, err)
	testdb.Eventually(t, patience, "the erased deadline to leave its queue", func() (bool, error) {
		return b.int("select count(*) from parked_events where aggregate_id = 'd3'") == 0, nil
	})
	w.MustStop()

	require.NoError(t, operator.Rename(b.ctx, b.Pool, "p", "q"))
	w = b.start(b.Pool, named("q")).WaitStarted()
	b.caughtUp("q")
	require.EqualValues(t, 2, b.int(far), "d1 and d4")
	require.Zero(t, b.int("select count(*) from done d join events e on e.global_position = d.position where e.event_type = 'deadline'"), "too early")
	b.comesDue(l)
	testdb.Eventually(t, patience, "all to be handled", func() (bool, error) { return b.int("select count(*) from parked_events") == 0, nil })
	require.EqualValues(t, 2, b.int("select count(*) from done d join events e on e.global_position = d.position where e.event_type = 'deadline'"))
	require.Zero(t, b.int(`select count(*) from done d join done f on f.n > d.n join events e on e.global_position = d.position
		join events l on l.global_position = f.position and l.aggregate_id = e.aggregate_id and l.aggregate_version < e.aggregate_version`), "in order")
	w.MustStop()
	blame()
}

// What reads the result of a statement may want its event later too: nothing of the batch is saved then, and the event is searched for.
func TestReaderOfAResultMayWantItsEventLater(t *testing.T) {
	t.Parallel()
	b := setup(t)
	l := &later{due: time.Now().AddDate(1, 0, 0)}
	p := rouse.Batched(queuing(func(batch *pgx.Batch, ev eventstore.Event) error {
		batch.Queue(doneSQL, "p", ev.GlobalPosition)
		batch.Queue("select 1").QueryRow(func(row pgx.Row) error {
			var one int
			if err := row.Scan(&one); err != nil {
				return err
			}
			return l.fail(ev)
		})
		return nil
	}))
	cfg := rouse.Config{Projections: []rouse.Projection{p}}
	var blame func()
	cfg.Observer, blame = blameless(t)
	b.deadlines(10)
	require.NoError(t, b.drain(b.Pool, cfg))
	blame()
	require.EqualValues(t, 20, b.int("select count(distinct position) from done"), "10 of others, twice")
	require.EqualValues(t, 20, b.int("select count(*) from done"))
	waiting, parkedFor, behind := b.stands()
	require.Equal(t, []int64{10, 0, 10}, []int64{waiting, parkedFor, behind})
}
