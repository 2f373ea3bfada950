package rouse_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
)

// outside is an effect that keeps what it has done in memory.
type outside struct {
	hook func(ctx context.Context, ev eventstore.Event, times int) error

	mu   sync.Mutex // protects done
	done []eventstore.Event
}

func (o *outside) Name() string { return "outside" }

func (*outside) StartFrom() rouse.Start { return rouse.Beginning }

func (o *outside) Do(ctx context.Context, ev eventstore.Event) error {
	if o.hook != nil {
		if err := o.hook(ctx, ev, o.times(ev.ID)); err != nil {
			return err
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.done = append(o.done, ev)
	return nil
}

// times is how often an event was done.
func (o *outside) times(id eventstore.ID) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for _, ev := range o.done {
		if ev.ID == id {
			n++
		}
	}
	return n
}

func (o *outside) positions() []int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []int64
	for _, ev := range o.done {
		out = append(out, ev.GlobalPosition)
	}
	return out
}

func TestEffectIsDoneBeforeItsCheckpointIsSaved(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var saved []int64 // the highest checkpoint, as another session sees it during each call
	var idle []bool   // whether the worker has no transaction open meanwhile
	watch := b.Conn(t)
	o := &outside{hook: func(ctx context.Context, ev eventstore.Event, _ int) error {
		var position int64
		var none bool
		err := watch.QueryRow(ctx, `select (select max(last_global_position) from projection_checkpoints where projection_name = 'outside'),
			not exists (select from pg_stat_activity where datname = current_database() and state like 'idle in transaction%')`).Scan(&position, &none)
		saved, idle = append(saved, position), append(idle, none)
		return err
	}}
	at := b.appendAll("e", "e", "e")
	require.NoError(t, b.drain(b.Pool, rouse.Config{Effects: []rouse.Effect{o}}))
	require.Equal(t, at, o.positions())
	for i, position := range saved {
		require.Less(t, position, at[i], "the checkpoint must not pass an event that is being done")
		require.True(t, idle[i], "no transaction stays open during the call")
	}
	require.NoError(t, b.drain(b.Pool, rouse.Config{Effects: []rouse.Effect{o}}))
	require.Equal(t, at, o.positions(), "what was done and saved does not come again")
}

// The worker loses its connections between an effect and its checkpoint: the event comes again, under the same id.
func TestEffectComesAgainUnderItsIDAfterAFailureInBetween(t *testing.T) {
	t.Parallel()
	b := setup(t)
	blocker := b.Conn(t)
	locked := make(chan error, 1)
	o := &outside{}
	o.hook = func(ctx context.Context, ev eventstore.Event, times int) error {
		if ev.Type == "unlucky" && times == 0 {
			_, err := blocker.Exec(ctx, "begin; select from projection_checkpoints for update") // the save will wait
			locked <- err
		}
		return nil
	}
	at := b.appendAll("lucky", "unlucky", "lucky")
	w := b.start(b.pool(pgx.QueryExecModeCacheStatement), rouse.Config{Effects: []rouse.Effect{o}})
	require.NoError(t, <-locked)
	testdb.Eventually(t, patience, "the save to wait, and to be ended", func() (bool, error) {
		var n int
		// Not by blocker: in a transaction, the first look at pg_stat_activity is kept for all that follow.
		err := b.Pool.QueryRow(b.ctx, `select count(pg_terminate_backend(pid)) from pg_stat_activity
			where datname = current_database() and wait_event_type = 'Lock'`).Scan(&n)
		return n > 0, err
	})
	_, err := blocker.Exec(b.ctx, "rollback")
	require.NoError(t, err)
	require.NoError(t, w.Drain(b.ctx))
	require.NoError(t, w.Stop())
	done := map[eventstore.ID]int{}
	for _, ev := range o.done {
		done[ev.ID]++
	}
	require.Len(t, done, 3, "the ids are the same the second time")
	require.Equal(t, at, o.positions()[len(o.done)-3:])
	require.Greater(t, len(o.done), 3, "nothing came again, so nothing was shown")
}

func TestFailingEffectStopsAtItsEvent(t *testing.T) {
	t.Parallel()
	b := setup(t)
	o := &outside{hook: func(_ context.Context, ev eventstore.Event, _ int) error {
		if ev.Type == "bad" {
			return errBad
		}
		return nil
	}}
	at := b.appendAll("good", "good", "bad", "good")
	err := b.drain(b.Pool, rouse.Config{Effects: []rouse.Effect{o}, Retry: rouse.RetryPolicy{Tries: 2}, OnFailure: rouse.Stop})
	var stopped *rouse.StoppedError
	require.ErrorAs(t, err, &stopped)
	require.ErrorIs(t, err, errBad)
	require.Equal(t, at[2], stopped.Position)
	require.Equal(t, at[:2], o.positions())
	err = b.drain(b.Pool, rouse.Config{Effects: []rouse.Effect{o}, Retry: rouse.RetryPolicy{Tries: 1}, OnFailure: rouse.Stop})
	require.ErrorIs(t, err, errBad)
	require.Equal(t, at[:2], o.positions(), "what was done before the bad event was saved, and does not come again")
}

// noted makes the database write down, at every move of a checkpoint, how its transaction is going to commit.
func (b *bundle) noted() {
	b.t.Helper()
	b.exec(`create table commits (projection text not null, setting text not null)`)
	b.exec(`create function note_commit() returns trigger language plpgsql as $$ begin
		if new.last_global_position <> old.last_global_position then
			insert into commits values (new.projection_name, current_setting('synchronous_commit'));
		end if;
		return null;
	end $$`)
	b.exec("create trigger note_commit after update on projection_checkpoints for each row execute function note_commit()")
}

// commits are the settings under which the checkpoints of a projection have moved.
func (b *bundle) commits(projection string) []string {
	b.t.Helper()
	rows, err := b.Pool.Query(b.ctx, "select distinct setting from commits where projection = $1 order by 1", projection)
	require.NoError(b.t, err)
	settings, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(b.t, err)
	return settings
}

func TestHowTransactionsCommit(t *testing.T) {
	t.Parallel()
	// A projection that appends commits as its append does: an event must be durable before anybody sees it.
	appends := projection{name: "appends", hook: func(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
		if ev.Type != "first" {
			return nil
		}
		_, err := eventstore.Append(ctx, tx, eventstore.Stream{Type: "reaction", ID: ev.ID.String()}, eventstore.NoStream(),
			eventstore.NewEvent{Type: "second", Payload: []byte("{}")})
		return err
	}}
	run := func(t *testing.T, database string, syncCommit bool) *bundle {
		b := setup(t)
		b.noted()
		if database != "" {
			b.exec("alter database " + pgx.Identifier{b.Name}.Sanitize() + " set synchronous_commit = " + database)
		}
		b.append("first")
		w := b.start(b.pool(pgx.QueryExecModeCacheStatement), rouse.Config{
			Projections: []rouse.Projection{projection{name: "plain"}, batched{projection: projection{name: "batched"}}, appends},
			Effects:     []rouse.Effect{&outside{}},
			SyncCommit:  syncCommit,
		}).WaitStarted()
		testdb.Eventually(t, patience, "both events in all partitions", func() (bool, error) {
			return b.int("select count(*) from projection_checkpoints where last_global_position < 2") == 0 && b.int("select count(*) from events") == 2, nil
		})
		require.NoError(t, w.Stop())
		require.Equal(t, []int64{1, 2}, b.done("appends"))
		return b
	}
	for _, test := range []struct {
		name, database string
		syncCommit     bool
		plain, effect  string
	}{
		{name: "ByDefault", plain: "off", effect: "on"},
		{name: "WithSyncCommit", syncCommit: true, plain: "on", effect: "on"},
		{name: "InAnAsynchronousDatabase", database: "off", plain: "off", effect: "on"},
		{name: "InAnAsynchronousDatabaseWithSyncCommit", database: "off", syncCommit: true, plain: "on", effect: "on"},
		{name: "StrongerIsKept", database: "remote_apply", syncCommit: true, plain: "remote_apply", effect: "remote_apply"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := run(t, test.database, test.syncCommit)
			require.Equal(t, []string{test.plain}, b.commits("plain"))
			require.Equal(t, []string{test.plain}, b.commits("batched"))
			require.Equal(t, []string{test.effect}, b.commits("outside"))
			switch {
			case test.plain == "off":
				require.Equal(t, []string{"off", "on"}, b.commits("appends"), "off, and on where it appends")
			default:
				require.Equal(t, []string{test.plain}, b.commits("appends"))
			}
		})
	}
}

// A projection that appends under asynchronous commit: the very transaction that appended was noted as synchronous.
func TestTransactionThatAppendsCommitsSynchronously(t *testing.T) {
	t.Parallel()
	b := setup(t)
	settings := make(chan string, 2)
	show := func(ctx context.Context, tx pgx.Tx) error {
		var setting string
		err := tx.QueryRow(ctx, "show synchronous_commit").Scan(&setting)
		settings <- setting
		return err
	}
	p := projection{name: "p", hook: func(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
		if ev.Type != "first" {
			return nil
		}
		if err := show(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
			values ('reaction', 'a', 1, 'second', '{}')`); err != nil {
			return err
		}
		return show(ctx, tx)
	}}
	b.append("first")
	require.NoError(t, b.drain(b.Pool, rouse.Config{Projections: []rouse.Projection{p}, StopTimeout: time.Minute}))
	require.Equal(t, "off", <-settings)
	require.Equal(t, "on", <-settings)
}

// What an effect has done is saved within about Config.BatchTime, also while a later call takes its time, so that a process that is
// killed then does not do it again.
func TestEffectSavesWhatIsDoneWhileACallGoesOn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	inHand, goOn := make(chan struct{}), make(chan struct{})
	done := sync.OnceFunc(func() { close(goOn) })
	defer done()
	o := &outside{hook: func(_ context.Context, ev eventstore.Event, _ int) error {
		if ev.Type == "slow" {
			close(inHand)
			<-goOn
		}
		return nil
	}}
	at := b.appendAll("good", "good", "slow", "good")
	w := b.start(b.Pool, rouse.Config{Effects: []rouse.Effect{o}, BatchTime: 50 * time.Millisecond})
	<-inHand
	testdb.Eventually(t, patience, "what is done to be saved", func() (bool, error) {
		return b.int("select max(last_global_position) from projection_checkpoints") == at[1], nil
	})
	done()
	require.NoError(t, w.Drain(b.ctx))
	require.Equal(t, at, o.positions())
}
