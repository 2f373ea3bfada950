package rebuild_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
	"github.com/rouse-es/rouse/parked"
	"github.com/rouse-es/rouse/projection"
)

type event = eventstore.Event

// held is a hook that holds a rebuild up at events of the type "held", until it is let go.
type held struct {
	at, release chan struct{}
	replays     atomic.Int64 // calls that are told that they replay
	lives       atomic.Int64 // others
}

func newHeld() *held { return &held{at: make(chan struct{}, 100), release: make(chan struct{})} }

func (h *held) hook(ctx context.Context, _ pgx.Tx, ev event) error {
	if !rouse.Replaying(ctx) {
		h.lives.Add(1)
		return nil
	}
	h.replays.Add(1)
	if ev.Type != "held" {
		return nil
	}
	h.at <- struct{}{}
	select {
	case <-h.release:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// inHand starts a rebuild that is held up in the middle, and waits until it is.
func (b *bundle) inHand(h *held) {
	b.t.Helper()
	_, err := projection.StartRebuild(b.ctx, b.Pool, "p", "")
	require.NoError(b.t, err)
	<-h.at
}

// A worker that is stopped in the middle leaves what it has built to the next, and nothing counts twice. The live one is served
// meanwhile, and is told that it does not replay: what it does outside of the database is done once.
func TestARebuildGoesOnInAnotherWorkerAndDoesNothingOutsideAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	h := newHeld()
	p := tally{hook: h.hook}
	w := b.start(p).WaitStarted()
	b.append(300, "e")
	b.append(1, "held")
	b.append(300, "e")
	b.countedTo("e", 600)
	b.inHand(h)
	b.append(50, "e")
	b.countedTo("e", 650)
	w.Cancel()
	close(h.release)
	w.MustStop()
	require.Positive(t, b.int("select count(*) from projections where projection_name = 'p@rebuild'"), "it is still there")

	next := newHeld()
	close(next.release)
	b.start(tally{hook: next.hook}).WaitStarted()
	require.NoError(t, projection.Rebuild(b.ctx, b.Pool, "p", "", nil))
	require.EqualValues(t, 650, b.counted("e"))
	require.EqualValues(t, 1, b.counted("held"))
	require.EqualValues(t, 651, h.lives.Load()+next.lives.Load(), "each event was handled for the live one once")
	require.Zero(t, b.leftovers())
}

// A cancelled rebuild is gone at once, also from under a handler that works for it.
func TestACancelledRebuildLeavesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	h := newHeld()
	w := b.start(tally{hook: h.hook}).WaitStarted()
	b.append(100, "e")
	b.append(1, "held")
	b.countedTo("e", 100)
	b.inHand(h)
	close(h.release)
	require.NoError(t, projection.CancelRebuild(b.ctx, b.Pool, "p"))
	require.Zero(t, b.leftovers())
	require.ErrorIs(t, projection.CancelRebuild(b.ctx, b.Pool, "p"), projection.ErrNoBuild)
	b.append(100, "e")
	b.countedTo("e", 200)

	require.NoError(t, projection.Rebuild(b.ctx, b.Pool, "p", "", nil), "and it may be done again")
	require.EqualValues(t, 200, b.counted("e"))
	w.MustStop()
}

// Whoever waits for a rebuild that an operator cancels is told so.
func TestAWaitForARebuildEndsWithItsCancellation(t *testing.T) {
	t.Parallel()
	b := setup(t)
	h := newHeld()
	b.start(tally{hook: h.hook}).WaitStarted()
	b.append(1, "held")
	b.countedTo("held", 1)
	ended := make(chan error, 1)
	go func() { ended <- projection.Rebuild(b.ctx, b.Pool, "p", "", nil) }()
	<-h.at
	require.NoError(t, projection.CancelRebuild(b.ctx, b.Pool, "p"))
	require.ErrorIs(t, <-ended, projection.ErrCancelled)
	close(h.release)
}

// The live one stands still, at an event that the old handler could not handle. What the new one builds takes its place all the same.
func TestARebuildMendsAProjectionThatIsStopped(t *testing.T) {
	t.Parallel()
	b := setup(t)
	bad := tally{hook: func(_ context.Context, _ pgx.Tx, ev event) error {
		if ev.Type == "bad" {
			return rouse.Permanent(errors.New("it is bad"))
		}
		return nil
	}}
	b.append(10, "e")
	w := workertest.Start(t, b.Pool, rouse.Config{Projections: []rouse.Projection{bad}, OnFailure: rouse.Stop})
	b.countedTo("e", 10)
	b.append(1, "bad")
	require.Error(t, w.Wait())
	b.append(10, "e")
	b.exec("update projections set state = 'paused' where projection_name = 'p'") // so that the mended one does not take it up

	b.start(tally{}).WaitStarted()
	require.NoError(t, projection.Rebuild(b.ctx, b.Pool, "p", "", nil))
	require.EqualValues(t, 20, b.counted("e"))
	require.EqualValues(t, 1, b.counted("bad"))
}

// What the new one has set aside and the live one has handled would be missing. Once it is handled, the new one takes the place.
func TestARebuildWithEventsSetAsideWaitsForThem(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var bad atomic.Bool
	bad.Store(true)
	p := tally{hook: func(ctx context.Context, _ pgx.Tx, ev event) error {
		if rouse.Replaying(ctx) && ev.Type == "bad" && bad.Load() {
			return rouse.Permanent(errors.New("it is bad"))
		}
		return nil
	}}
	b.start(p).WaitStarted()
	b.append(10, "e")
	b.append(1, "bad")
	b.countedTo("bad", 1)
	_, err := projection.StartRebuild(b.ctx, b.Pool, "p", "")
	require.NoError(t, err)
	waits := b.beside("p@rebuild", "waiting for people", func(one projection.Build) bool { return one.Trouble != "" })
	require.Contains(t, waits.Trouble, "p@rebuild has set 1 events aside that p has handled (rouse parked list --projection p@rebuild shows them: retry or discard them)")
	require.False(t, waits.Final)
	bad.Store(false)
	_, err = parked.Retry(b.ctx, b.Pool, parked.Filter{Projection: "p@rebuild"})
	require.NoError(t, err)
	require.NoError(t, projection.Rebuild(b.ctx, b.Pool, "p", "", nil))
	require.EqualValues(t, 1, b.counted("bad"))
}

// A handler that writes to a table that is not its own would apply every event twice there. Nothing of that is committed.
func TestARebuildWhoseHandlerWritesElsewhereStops(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"the live table by its schema":  "insert into public.counts values ('x', 1) on conflict (type) do update set n = 0",
		"a table that it does not name": "insert into others values (1)",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.exec("create table others (n int)")
			b.start(tally{hook: func(ctx context.Context, tx pgx.Tx, _ event) error {
				if !rouse.Replaying(ctx) {
					return nil
				}
				_, err := tx.Exec(ctx, sql)
				return err
			}}).WaitStarted()
			b.append(3, "e")
			b.countedTo("e", 3)
			err := projection.Rebuild(b.ctx, b.Pool, "p", "", nil)
			require.ErrorIs(t, err, projection.ErrRefused)
			require.ErrorContains(t, err, "the handler writes to tables that are not the shadow's: public.")
			require.ErrorContains(t, err, "name them in Tables, and without a schema")
			require.EqualValues(t, 3, b.total())
			require.Zero(t, b.int("select count(*) from others"))
			require.Zero(t, b.int("select count(*) from parked_events"))
			require.NoError(t, projection.CancelRebuild(b.ctx, b.Pool, "p"))
			require.Zero(t, b.leftovers())
		})
	}
}

// A rebuild from a position knows the events behind it.
func TestARebuildFromAPosition(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(30, "old")
	b.append(20, "e")
	b.start(tally{}).WaitStarted()
	b.countedTo("e", 20)
	require.ErrorIs(t, projection.Rebuild(b.ctx, b.Pool, "p", rouse.Position(1000), nil), projection.ErrPosition)
	require.ErrorIs(t, projection.Rebuild(b.ctx, b.Pool, "q", "", nil), projection.ErrNoProjection)
	_, err := projection.StartRebuild(b.ctx, b.Pool, "p", rouse.Now)
	require.ErrorIs(t, err, projection.ErrPosition, "it would put an empty read model into the place")
	require.ErrorContains(t, err, "a rebuild from now builds nothing")
	require.Zero(t, b.leftovers())
	require.NoError(t, projection.Rebuild(b.ctx, b.Pool, "p", rouse.Position(30), nil))
	require.Zero(t, b.counted("old"))
	require.EqualValues(t, 20, b.counted("e"))
}

// A rebuild that is under way does not begin elsewhere because another start is asked for, and whoever asks is told.
func TestAnotherStartOfARebuildThatIsUnderWayIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(50, "e")
	w := b.start(tally{}).WaitStarted()
	b.countedTo("e", 50)
	w.Cancel()
	w.MustStop()
	first, err := projection.StartRebuild(b.ctx, b.Pool, "p", rouse.Position(30))
	require.NoError(t, err)
	for _, from := range []rouse.Start{rouse.Beginning, rouse.Position(31)} {
		_, err = projection.StartRebuild(b.ctx, b.Pool, "p", from)
		require.ErrorIs(t, err, projection.ErrRefused, from)
		require.ErrorContains(t, err, "a rebuild of p is under way, from position 30 on (")
		require.ErrorContains(t, err, "rouse projection rebuild p --cancel", from)
	}
	for _, from := range []rouse.Start{"", rouse.Position(30)} {
		again, err := projection.StartRebuild(b.ctx, b.Pool, "p", from)
		require.NoError(t, err, "it goes on: %q", from)
		require.Equal(t, first.Since, again.Since)
	}
	require.NoError(t, projection.CancelRebuild(b.ctx, b.Pool, "p"))
}

// noTables is a projection that does not say which tables it has.
type noTables struct{ tally }

func (noTables) Tables() {}

// mails is an effect.
type mails struct{}

func (mails) Name() string                               { return "p" }
func (mails) Do(context.Context, eventstore.Event) error { return nil }

// What cannot be rebuilt is refused with what is in the way, and nothing is left.
func TestARebuildIsRefusedWithWhatIsInTheWay(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ sql, says string }{
		"a view":             {"create view seen as select * from counts", "view seen depends on it"},
		"a materialized":     {"create materialized view seen as select * from counts", "materialized view seen depends on it"},
		"a foreign key":      {"create table others (type text references counts)", "constraint others_type_fkey on table others depends on it"},
		"a function":         {"create function total() returns bigint language sql begin atomic select sum(n)::bigint from counts; end", "function total() depends on it"},
		"a type":             {"create table others (c counts)", "column c of table others depends on it"},
		"a trigger":          {"create function f() returns trigger language plpgsql as 'begin return null; end'; create trigger t after insert on counts for each row execute function f()", "public.counts has the trigger t, which is not one BEFORE each row"},
		"a rule":             {"create rule r as on delete to counts do instead nothing", "public.counts has the rule r"},
		"inheritance":        {"create table others () inherits (counts)", "inherits from or to another"},
		"a publication":      {"create publication p for table counts", "publication of table counts in publication p depends on it"},
		"no table":           {"drop table counts", "there is no table counts where the handler of p looks for it"},
		"a view by its name": {"alter table counts rename to c; create view counts as select * from c", "public.counts is not a plain table"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.exec(c.sql)
			b.start(tally{}).WaitStarted()
			err := projection.Rebuild(b.ctx, b.Pool, "p", "", nil)
			require.ErrorIs(t, err, projection.ErrRefused)
			require.ErrorContains(t, err, c.says)
			require.Zero(t, b.leftovers())
		})
	}
	t.Run("a handler without Tables", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.start(noTables{}).WaitStarted()
		err := projection.Rebuild(b.ctx, b.Pool, "p", "", nil)
		require.ErrorContains(t, err, "does not name its tables (implement rouse.Tabled)")
		require.Zero(t, b.leftovers())
	})
	t.Run("an effect", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		workertest.Start(t, b.Pool, rouse.Config{Effects: []rouse.Effect{mails{}}}).WaitStarted()
		require.ErrorContains(t, projection.Rebuild(b.ctx, b.Pool, "p", "", nil), "p is an effect, and is not done again")
	})
}

// Readers that hold the table for longer than a try waits do not keep the new one from its place, and are not kept waiting for long.
func TestALongReaderPutsTheChangeOff(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(10, "e")
	b.start(tally{}).WaitStarted()
	b.countedTo("e", 10)
	tx, err := b.Conn(t).Begin(b.ctx)
	require.NoError(t, err)
	_, err = tx.Exec(b.ctx, "select * from counts")
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- projection.Rebuild(b.ctx, b.Pool, "p", "", nil) }()
	testdb.Eventually(t, patience, "the change to wait for the reader", func() (bool, error) {
		return b.int("select count(*) from pg_locks where not granted and relation = 'counts'::regclass") > 0, nil
	})
	require.EqualValues(t, 10, b.counted("e"), "others read meanwhile")
	require.NoError(t, tx.Commit(b.ctx))
	require.NoError(t, <-ended)
	require.EqualValues(t, 10, b.counted("e"))
}
