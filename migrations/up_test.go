package migrations_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
	"github.com/rouse-es/rouse/migrations"
	"github.com/rouse-es/rouse/partition"
)

const patience = time.Minute

// version7 is a statement of the binaries of version 7, as they sent it.
func version7(t *testing.T, name string) string {
	t.Helper()
	sql, err := os.ReadFile(filepath.Join("testdata", "version7", name+".sql"))
	require.NoError(t, err)
	return string(sql)
}

// at7 is a database as binaries of version 7 have left it.
func at7(t *testing.T) *bundle {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	t.Cleanup(cancel)
	db := testdb.At(t, 7)
	b := &bundle{DB: db, ctx: ctx, t: t, conn: db.Conn(t)}
	version, _, err := migrations.Version(ctx, b.conn)
	require.NoError(t, err)
	require.Equal(t, 7, version)
	return b
}

const (
	worker7 = "00000000-0000-4000-8000-000000000007"
	append7 = `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		values ('thing', gen_random_uuid(), 1, 'e', '{}') returning global_position`
)

// heartbeat7 is the heartbeat of a worker of version 7.
func (b *bundle) heartbeat7(conn *pgx.Conn) {
	b.t.Helper()
	_, err := conn.Exec(b.ctx, version7(b.t, "heartbeat"), worker7, "old", "elastic", nil, nil, nil, "host", 1, "quiet", `{"p": "running"}`,
		0, 0, nil, 5000, nil, false, "{}")
	require.NoError(b.t, err)
}

// holds is a session that holds a table as a dump does, until the returned function is called.
func (b *bundle) holds(table string) (release func()) {
	b.t.Helper()
	tx, err := b.Conn(b.t).Begin(b.ctx)
	require.NoError(b.t, err)
	_, err = tx.Exec(b.ctx, "select count(*) from "+table)
	require.NoError(b.t, err)
	return func() { require.NoError(b.t, tx.Rollback(b.ctx)) }
}

// waits waits until a session wants a table alone and does not get it.
func (b *bundle) waits() {
	b.t.Helper()
	testdb.Eventually(b.t, patience, "the migration to wait", func() (bool, error) {
		var n int
		err := b.Pool.QueryRow(b.ctx, "select count(*) from pg_locks where locktype = 'relation' and not granted and mode = 'AccessExclusiveLock'").Scan(&n)
		return n > 0, err
	})
}

// A migration that finds a table in use waits for short moments only. So heartbeats and appends of version 7 go on, each behind one
// or two of its attempts, and an attempt is so short that a worker, which sends a heartbeat a second, trusts its leases all along.
// When the table is free the migration gets through.
func TestMigrationThatWaitsLetsOthersPass(t *testing.T) {
	t.Parallel()
	require.Less(t, partition.DefaultTTL/5+migrations.TableWait+time.Second, partition.DefaultTTL*4/5, "a second is for the locks behind the first")
	for _, table := range []string{"events", "projection_workers", "projection_checkpoints", "parked_events", "rouse_members"} {
		t.Run(table, func(t *testing.T) {
			t.Parallel()
			b := at7(t)
			release := b.holds(table)
			done := make(chan error, 1)
			var attempts atomic.Int64
			var blocked []*migrations.BlockedError
			migrating := b.Conn(t)
			go func() {
				_, err := migrations.UpReporting(b.ctx, migrating, func(e *migrations.BlockedError) {
					blocked = append(blocked, e)
					attempts.Add(1)
				})
				done <- err
			}()
			b.waits()
			conn := b.Conn(t)
			passes := func(statement func()) {
				t.Helper()
				before := attempts.Load()
				statement()
				// One attempt was in the way, and others may pass until a slow machine has brought the answer.
				require.LessOrEqual(t, attempts.Load()-before, int64(4), "attempts behind which one statement has waited")
			}
			for attempts.Load() < 3 && b.ctx.Err() == nil {
				passes(func() { b.heartbeat7(conn) })
				passes(func() {
					_, err := conn.Exec(b.ctx, append7)
					require.NoError(t, err)
				})
			}
			select {
			case err := <-done:
				t.Fatal("the migration must wait for the table, and not give up", err)
			default:
			}
			release()
			require.NoError(t, <-done)
			require.NoError(t, migrations.Check(b.ctx, b.conn))
			require.True(t, slices.ContainsFunc(blocked, func(e *migrations.BlockedError) bool {
				return e.Table == table && e.State == "idle in transaction"
			}))
			b.heartbeat7(b.Conn(t))
		})
	}
}

// ttl is the lease of workers of which a test says that they keep it: a machine that stands still for some seconds takes none away.
const ttl = 20 * time.Second

// The next migration waits beside a worker of this release, which keeps its leases and handles what is appended meanwhile.
func TestWorkerKeepsItsLeasesWhileAMigrationWaits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.up()
	b.exec("create table done (position bigint primary key)")
	w := workertest.Start(t, b.Pool, rouse.Config{LeaseTTL: ttl, Projections: []rouse.Projection{noting{}}}).WaitStarted()
	var position int
	require.NoError(t, b.conn.QueryRow(b.ctx, append7).Scan(&position))
	handled := func(position int) {
		t.Helper()
		testdb.Eventually(t, patience, "the event to be handled", func() (bool, error) {
			return b.int("select count(*) from done where position = $1", position) == 1, nil
		})
	}
	handled(position)
	testdb.Eventually(t, patience, "all partitions to be owned", func() (bool, error) {
		return b.int("select count(*) from projection_checkpoints where owner is null") == 0, nil
	})
	epochs := b.int("select sum(epoch)::int from projection_checkpoints")

	release := b.holds("projection_workers")
	done := make(chan error, 1)
	migrating := b.Conn(t)
	go func() {
		_, err := migrations.UpWithNext(b.ctx, migrating, nil, "alter table projection_workers add column next int", "projection_workers")
		done <- err
	}()
	b.waits()
	for range 4 { // heartbeats, one every 4 s
		beat := b.text("select max(heartbeat_at)::text from projection_workers")
		testdb.Eventually(t, patience, "the next heartbeat", func() (bool, error) {
			return b.text("select max(heartbeat_at)::text from projection_workers") > beat, nil
		})
		require.NoError(t, b.conn.QueryRow(b.ctx, append7).Scan(&position))
		handled(position)
	}
	release()
	require.NoError(t, <-done)
	require.NoError(t, b.conn.QueryRow(b.ctx, append7).Scan(&position))
	handled(position)
	require.Equal(t, epochs, b.int("select sum(epoch)::int from projection_checkpoints"), "no partition was claimed anew")
	require.NoError(t, w.Stop())
}

// A dump of the database has every table in use until its end. A migration of the tables that workers write to most waits for it,
// and names it; two workers handle on meanwhile, and no partition changes hands.
func TestMigrationBesideADumpStopsNoWorker(t *testing.T) {
	t.Parallel()
	dump, err := exec.LookPath("pg_dump")
	if err != nil {
		t.Skip("there is no pg_dump here, so nothing is said of dumps: install PostgreSQL's client programs")
	}
	b := setup(t)
	b.up()
	b.exec("create table done (position bigint primary key)")
	var workers []*workertest.Worker
	for range 2 {
		workers = append(workers, workertest.Start(t, b.Pool, rouse.Config{LeaseTTL: ttl, Projections: []rouse.Projection{noting{}}}).WaitStarted())
	}
	testdb.Eventually(t, patience, "each to have its half", func() (bool, error) {
		return b.int("select count(*) from (select from projection_checkpoints group by owner having owner is not null and count(*) = 16) half") == 2, nil
	})
	// Who has given up a half claims the other one anew, which is done when it handles again.
	for _, w := range workers {
		before := w.Status().EventsHandled
		testdb.Eventually(t, patience, "each to handle events of its half", func() (bool, error) {
			b.exec(append7)
			return w.Status().EventsHandled > before, nil
		})
	}
	epochs := b.int("select sum(epoch)::int from projection_checkpoints")

	// A dump locks all tables before it reads the first, so one that it does not get keeps it in the middle.
	b.exec("create table last_of_all (n int)")
	last, err := b.Conn(t).Begin(b.ctx)
	require.NoError(t, err)
	_, err = last.Exec(b.ctx, "lock table last_of_all in access exclusive mode")
	require.NoError(t, err)
	dumping := exec.CommandContext(b.ctx, dump, "--dbname", b.URL, "--file", os.DevNull)
	output := &bytes.Buffer{}
	dumping.Stdout, dumping.Stderr = output, output
	require.NoError(t, dumping.Start())
	testdb.Eventually(t, patience, "the dump to have the tables", func() (bool, error) {
		return b.int(`select count(distinct relation) from pg_locks join pg_stat_activity using (pid) where application_name = 'pg_dump' and granted
			and relation in ('events'::regclass, 'projection_workers'::regclass, 'projection_checkpoints'::regclass)`) == 3, nil
	})

	done := make(chan error, 1)
	migrating := b.Conn(t)
	var blocked []*migrations.BlockedError
	go func() {
		_, err := migrations.UpWithNext(b.ctx, migrating, func(e *migrations.BlockedError) { blocked = append(blocked, e) },
			"alter table projection_workers add column next int; alter table events add column next int; alter table projection_checkpoints add column next int",
			"projection_workers", "events", "projection_checkpoints")
		done <- err
	}()
	b.waits()
	for range 4 { // heartbeats of the worker that is behind, one every 4 s
		beat := b.text("select min(heartbeat_at)::text from projection_workers")
		testdb.Eventually(t, patience, "the next heartbeat of both", func() (bool, error) {
			return b.text("select min(heartbeat_at)::text from projection_workers") > beat, nil
		})
		var position int
		require.NoError(t, b.conn.QueryRow(b.ctx, append7).Scan(&position))
		testdb.Eventually(t, patience, "the event to be handled", func() (bool, error) {
			return b.int("select count(*) from done where position = $1", position) == 1, nil
		})
	}
	require.NoError(t, last.Rollback(b.ctx))
	require.NoError(t, dumping.Wait(), output.String())
	require.NoError(t, <-done)
	require.True(t, slices.ContainsFunc(blocked, func(e *migrations.BlockedError) bool { return e.Application == "pg_dump" }), "%v", blocked)
	require.Equal(t, epochs, b.int("select sum(epoch)::int from projection_checkpoints"), "no partition was claimed anew")
	for _, w := range workers {
		w.MustStop()
	}
}

// noting writes down the positions that it has handled.
type noting struct{}

func (noting) Name() string { return "noting" }

func (noting) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	_, err := tx.Exec(ctx, "insert into done (position) values ($1)", ev.GlobalPosition)
	return err
}

// text is what a statement returns.
func (b *bundle) text(sql string, args ...any) string {
	b.t.Helper()
	var text string
	require.NoError(b.t, b.conn.QueryRow(b.ctx, sql, args...).Scan(&text))
	return text
}

// A migration that does not get through says which session is in the way, and shows no statement of it.
func TestMigrationThatGivesUpNamesTheSession(t *testing.T) {
	t.Parallel()
	b := at7(t)
	holder := b.Conn(t)
	for _, sql := range []string{"set application_name = 'dump'", "begin", "select 'secret' from events"} {
		_, err := holder.Exec(b.ctx, sql)
		require.NoError(t, err)
	}
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	_, err := migrations.UpReporting(ctx, b.conn, func(*migrations.BlockedError) { cancel() })
	require.ErrorIs(t, err, context.Canceled)
	var blocked *migrations.BlockedError
	require.ErrorAs(t, err, &blocked)
	require.Equal(t, holder.PgConn().PID(), uint32(blocked.PID))
	require.WithinDuration(t, time.Now(), blocked.Since, patience)
	require.Regexp(t, `table events is in use by process \d+ of role "\w+", application "dump", idle in transaction, since 20\d\d-`, err.Error())
	require.NotContains(t, err.Error(), "secret")
}

// A prepared transaction, which no process has, is named too.
func TestMigrationNamesThePreparedTransactionInTheWay(t *testing.T) {
	t.Parallel()
	b := at7(t)
	gid := b.Name + "_in_the_way"
	conn := b.Conn(t)
	for _, sql := range []string{"begin", append7, "prepare transaction '" + gid + "'"} {
		_, err := conn.Exec(b.ctx, sql)
		require.NoError(t, err)
	}
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	_, err := migrations.UpReporting(ctx, b.conn, func(e *migrations.BlockedError) {
		if e.Prepared == gid {
			_, err := conn.Exec(b.ctx, "commit prepared '"+gid+"'")
			require.NoError(t, err)
		}
	})
	require.NoError(t, err)
}

// What binaries of version 7 send to the schema of today does what it did, and what they leave behind does not pass for another
// log, nor for a checkpoint of a binary of today.
func TestStatementsOfVersion7WorkOnTheSchemaOfToday(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.up()
	projection, token := "p", b.text("select token::text from rouse_incarnation")
	b.exec("insert into projections (projection_name, partitions) values ($1, 2)", projection)
	b.exec("insert into projection_checkpoints (projection_name, partition) values ($1, 0), ($1, 1)", projection)
	for range 3 {
		b.exec(append7)
	}
	b.heartbeat7(b.conn)
	var partition, epoch, last int
	var inherited bool
	claim := func(sql string, more ...any) {
		t.Helper()
		args := append([]any{projection, worker7, []int{0}, token, false}, more...)
		require.NoError(t, b.conn.QueryRow(b.ctx, sql, args...).Scan(&partition, &epoch, &last, &inherited))
	}
	claim(version7(t, "claim"))
	require.Equal(t, []int{0, 1, 0}, []int{partition, epoch, last})

	event := "(select event_id from events where global_position = 1)"
	b.exec("update projection_checkpoints set last_global_position = 1, event_id = "+event+", event_position = 1 where partition = 0 and projection_name = $1", projection)
	for _, save := range []func() error{
		func() error {
			_, err := b.conn.Exec(b.ctx, version7(t, "save_one"), projection, worker7, token, 0, epoch, 1, 2)
			return err
		},
		func() error {
			_, err := b.conn.Exec(b.ctx, version7(t, "save"), projection, worker7, token, []int{0}, []int{epoch}, []int{2}, 3)
			return err
		},
	} {
		require.NoError(t, save())
		require.Error(t, save(), "its floor has moved")
	}
	require.Equal(t, 3, b.int("select last_global_position::int from projection_checkpoints where partition = 0"))
	require.Equal(t, 1, b.int("select event_position::int from projection_checkpoints where partition = 0"), "left behind")

	b.exec(version7(t, "park"), projection, []int{3}, []int{1}, []string{"no"})
	require.Equal(t, 1, b.int("select count(*) from parked_events where global_position = 3"))
	rows, err := b.conn.Query(b.ctx, version7(t, "members"), projection)
	require.NoError(t, err)
	rows.Close()
	require.Equal(t, 1, int(rows.CommandTag().RowsAffected()), "the worker lives")
}
