package doctor

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
)

// TestStrangerInTheWayIsNamed: a session that has a lock of the protocol for itself, or waits for it.
func TestStrangerInTheWayIsNamed(t *testing.T) {
	t.Parallel()
	const key = "(('events'::regclass::oid::bigint & 16777215) << 40)"
	for _, tc := range []struct{ name, holds, wants, says string }{
		{"HoldsK", "", "select pg_advisory_lock(" + key + " | 3)", "holds exclusively the lock of appends"},
		{"WaitsForK", "select pg_advisory_lock_shared(" + key + " | 3)", "select pg_advisory_lock(" + key + " | 3)", "waits for exclusively the lock of appends"},
		{"HoldsS", "", "select pg_advisory_lock(1919907155, 'events'::regclass::oid::bigint::int)", "holds exclusively the lock by which appends see"},
		{"WaitsForS", "select pg_advisory_lock_shared(1919907155, 'events'::regclass::oid::bigint::int)",
			"select pg_advisory_lock(1919907155, 'events'::regclass::oid::bigint::int)", "waits for exclusively the lock by which appends see"},
		{"HoldsAPresence", "", "select pg_advisory_lock(1919907159, 77)", "holds exclusively the lock by which a worker shows"},
		{"WaitsForAPresence", "select pg_advisory_lock_shared(1919907152, 77)", "select pg_advisory_lock(1919907152, 77)", "waits for exclusively the lock by which a worker shows"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			holder, conn := b.Conn(t), b.Conn(t)
			_, err := conn.Exec(t.Context(), "set application_name = 'mallory'")
			require.NoError(t, err)
			if tc.holds != "" {
				_, err = holder.Exec(t.Context(), tc.holds)
				require.NoError(t, err)
				b.requireWell() // what is shared is Rouse's way
			}
			ended := make(chan error, 1)
			go func() {
				_, err := conn.Exec(t.Context(), tc.wants)
				ended <- err
			}()
			testdb.Eventually(t, patience, "the stranger to have asked", func() (bool, error) {
				var asked bool
				return asked, b.Pool.QueryRow(t.Context(), "select exists (select from pg_locks where locktype = 'advisory' and pid = $1 and mode = 'ExclusiveLock')", conn.PgConn().PID()).Scan(&asked)
			})
			b.requireOnly(b.examine(), "locks", Warn, tc.says, `of "mallory", role `, "pg_terminate_backend(")
			require.NoError(t, holder.Close(t.Context()))
			require.NoError(t, <-ended)
		})
	}
}

// TestOwnerOfTheDefinerIsThatOfTheLog, or another role says what every append runs.
func TestOwnerOfTheDefinerIsThatOfTheLog(t *testing.T) {
	t.Parallel()
	b := setup(t)
	role := b.Name + "_owner"
	b.exec("create role " + role)
	t.Cleanup(func() {
		b.exec("reassign owned by " + role + " to current_user")
		b.exec("drop owned by " + role)
		b.exec("drop role " + role)
	})
	b.exec("grant create on schema public to " + role)
	b.exec("alter function rouse_append_before() owner to " + role)
	b.requireOnly(b.examine(), "definer", Warn, "belongs to "+role, "alter function rouse_append_before() owner to ")
}

// TestRowSecurityThatHidesRowsFails: for a role that it is active for, whatever the policies say.
func TestRowSecurityThatHidesRowsFails(t *testing.T) {
	t.Parallel()
	b := setup(t)
	role := b.as(workerRights...)
	b.exec("alter table rouse_restart enable row level security")
	b.requireOnly(b.examine(), "row security", Fail, "hides rows of rouse_restart", "alter table rouse_restart disable row level security; or give the role BYPASSRLS")
	b.exec("alter role " + role + " bypassrls")
	b.requireOnly(b.examine(), "row security", Warn, "workers of another one would not start")
	b.exec("alter table rouse_restart disable row level security")
	b.exec("alter table events enable row level security")
	b.exec("alter role " + role + " nobypassrls")
	b.requireOnly(b.examine(), "row security", Fail, "hides rows of events")
}

// TestEngineIsJudgedByWhatItDoes: one hides young locks, and one shows sixteen.
func TestEngineIsJudgedByWhatItDoes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, shadow string
		says         []string
	}{
		{"LocksAreHiddenForASecond", `create view shadow.pg_locks as select l.* from pg_catalog.pg_locks l join pg_stat_activity a using (pid)
			where a.xact_start < clock_timestamp() - interval '1 second'`, []string{"pg_locks shows 0 at once", "docs/deployment.md"}},
		{"SixteenLocksAreShown", `create view shadow.pg_locks as select * from pg_catalog.pg_locks where locktype = 'advisory'
			and database = (select oid from pg_database where datname = current_database()) order by pid limit 16`, []string{"transactions that hold an advisory lock pg_locks shows 16 at once"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.exec("create schema shadow")
			b.exec(tc.shadow)
			b.cfg.Pool.ConnConfig.RuntimeParams["search_path"] = "shadow, pg_catalog, public"
			b.requireOnly(b.examine(), "engine", Fail, tc.says...)
		})
	}
}

// TestPositionsAreTriedIfAsked, on engines that give them out from a cache of the session, whatever the sequence says, or before the
// lock; and not where an append would move the end of a log that is behind its checkpoints.
func TestPositionsAreTriedIfAsked(t *testing.T) {
	t.Parallel()
	const instead = "create trigger instead before insert on events for each row execute function instead()"
	for _, tc := range []struct {
		name  string
		cause []string
		check string
		level Level
		says  string
	}{
		{"Cached", []string{"create sequence cached cache 20", `create function instead() returns trigger language plpgsql as $$ begin
			new.global_position := nextval('cached') + 100; return new; end $$`, instead}, "positions", Fail, "in turn were given the positions 101 121 102 122"},
		{"BeforeTheLock", []string{`create function instead() returns trigger language plpgsql as $$ begin
			new.global_position := -5; return new; end $$`, instead}, "positions", Fail, "had not taken its lock before position -5"},
		{"Refused", []string{"alter table events add constraint nothing check (event_type <> 'Tried')"}, "positions", Warn, "an append was refused"},
		{"BehindTheCheckpoints", []string{"truncate events restart identity"}, "checkpoints", Fail, "ends at 0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.cfg.Append = true
			b.requireWell()
			for _, sql := range tc.cause {
				b.exec(sql)
			}
			b.requireOnly(b.examine(), tc.check, tc.level, tc.says)
			b.requireOnly(b.examine(), tc.check, tc.level)
		})
	}
}

// TestDoctorTakesNoConnectionThatOthersNeed: it tries with fewer sessions where there are few.
func TestDoctorTakesNoConnectionThatOthersNeed(t *testing.T) {
	t.Parallel()
	server := testdb.Server(t, map[string]string{"max_connections": "14"}) // 11 for ordinary roles
	b := healthy(t, testdb.On(t, server))
	b.requireWell()
	var conns []*pgx.Conn
	for range 3 {
		conns = append(conns, b.Conn(t))
	}
	b.requireWell()
	for _, conn := range conns {
		closeConn(conn)
	}
}
