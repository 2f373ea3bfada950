package doctor

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/migrations"
	"github.com/rouse-es/rouse/partition"
)

func TestHealthyDatabaseIsWellEverywhere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := b.examine()
	_, said := unwell(r)
	require.Empty(t, said)
	var checks []string
	for _, f := range r.Findings {
		checks = append(checks, f.Check)
		assert.Empty(t, f.Do, f.Check)
	}
	assert.Equal(t, []string{"server", "encoding", "pooler", "role", "access", "encryption", "schema", "source", "listen", "notify queue", "connections", "idle sessions",
		"rights", "row security", "triggers", "definer", "sequence", "engine", "checkpoints", "open appends", "snapshots", "projections", "lag", "partitions", "workers", "pushes", "locks", "handlers", "retrying events", "parked events"}, checks)
}

func TestNewDatabaseIsWell(t *testing.T) {
	t.Parallel()
	bare(t, testdb.New(t)).requireWell()
}

// A log whose pushes carry events is as well as any other, for a role that may read the key.
func TestPushesThatCarryEventsAreWell(t *testing.T) {
	t.Parallel()
	b := setup(t)
	require.NoError(t, migrations.Carry(t.Context(), b.Conn(t), true, nil))
	b.requireWell()
	role := b.Name + "_worker"
	b.exec("revoke pg_read_all_data, pg_write_all_data from " + role)
	b.exec("grant all on all tables in schema public to " + role)
	b.exec("grant select on all sequences in schema public to " + role)
	b.requireWell()
	b.exec("revoke all on rouse_push_key from " + role)
	b.requireOnly(b.examine(), "triggers", Warn, "may not read the key", "grant select on rouse_push_key")
}

// TestFindings causes each thing that can be caused with a statement, in a database that is healthy otherwise.
func TestFindings(t *testing.T) {
	t.Parallel()
	const replaced = `create or replace function rouse_append_before() returns trigger language plpgsql security definer
		set search_path = pg_catalog, pg_temp as $$ begin return null; end $$`
	for _, tc := range []struct {
		name  string
		cause []string
		check string
		level Level
		says  []string
	}{
		{"BeforeIsMissing", []string{"drop trigger rouse_append_before on events"}, "triggers", Fail, []string{"rouse_append_before is missing", "lost", "--print"}},
		{"BeforeIsDisabled", []string{"alter table events disable trigger rouse_append_before"}, "triggers", Fail,
			[]string{"rouse_append_before is disabled", "alter table events enable always trigger rouse_append_before"}},
		{"BeforeIsNotAlways", []string{"alter table events enable trigger rouse_append_before"}, "triggers", Fail, []string{"replica role skip it", "enable always"}},
		{"BeforeIsForReplicasOnly", []string{"alter table events enable replica trigger rouse_append_before"}, "triggers", Fail, []string{"replica role only", "enable always"}},
		{"BeforeIsReplaced", []string{replaced}, "triggers", Fail, []string{"rouse_append_before is not that of this version"}},
		{"BeforeIsTheCallers", []string{"alter function rouse_append_before() security invoker"}, "triggers", Fail, []string{"not that of this version"}},
		{"BeforeIsForEachRow", []string{"drop trigger rouse_append_before on events",
			"create trigger rouse_append_before before insert on events for each row execute function rouse_append_before()"}, "triggers", Fail, []string{"once for each INSERT statement"}},
		{"AfterIsMissing", []string{"drop trigger rouse_append_after on events"}, "triggers", Fail, []string{"rouse_append_after is missing", "wakes"}},
		{"AfterIsNotAlways", []string{"alter table events enable trigger rouse_append_after"}, "triggers", Fail, []string{"enable always trigger rouse_append_after"}},
		{"AfterHasASetting", []string{"alter function rouse_append_after() set search_path = public"}, "triggers", Fail, []string{"rouse_append_after is not that of this version"}},
		{"PushesCarryNothing", []string{"create or replace trigger rouse_append_after after insert on events referencing new table as appended for each statement execute function rouse_append_carry('1', '2')",
			"alter table events enable always trigger rouse_append_after"}, "triggers", Warn, []string{"as after a restore: pushes carry nothing", "run: rouse migrate --carry on"}},
		{"PublicMayRunTheCarrier", []string{"grant execute on function rouse_append_carry() to public"}, "definer", Fail,
			[]string{"PUBLIC may execute rouse_append_carry()", "run: revoke execute on function rouse_append_carry() from public"}},
		{"BeforeHasASetting", []string{"alter function rouse_append_before() set synchronous_commit = off"}, "triggers", Fail, []string{"rouse_append_before is not that of this version"}},
		{"BeforeKnowsNoSequence", []string{"create or replace trigger rouse_append_before before insert on events for each statement execute function rouse_append_before('1', '2')",
			"alter table events enable always trigger rouse_append_before"}, "triggers", Warn,
			[]string{"looks its sequence up in every append", "run: create or replace trigger rouse_append_before before insert on events", "enable always trigger rouse_append_before"}},
		{"BeforeKnowsAnotherSequence", []string{"create sequence other",
			`do $$ begin execute format('create or replace trigger rouse_append_before before insert on events for each statement execute function rouse_append_before(%L, %L)',
			'events'::regclass::oid, 'other'::regclass::oid); end $$`, "alter table events enable always trigger rouse_append_before"}, "triggers", Fail,
			[]string{"looks at a sequence that is not that of events", "run: create or replace trigger rouse_append_before before insert on events"}},

		{"SequenceCaches", []string{"alter table events alter global_position set cache 32"}, "sequence", Fail, []string{"caches 32", "set cache 1"}},
		{"PublicMayRunTheDefiner", []string{"grant execute on function rouse_append_before() to public"}, "definer", Fail,
			[]string{"PUBLIC may execute rouse_append_before()", "run: revoke execute on function rouse_append_before() from public"}},
		{"BeforeIsAttachedElsewhere", []string{"create table other (n int)", "create trigger t before insert on other for each statement execute function rouse_append_before()"}, "definer", Fail,
			[]string{"attached to other tables", "run: drop trigger t on other"}},
		{"LogHasRowSecurity", []string{"alter table events enable row level security"}, "row security", Fail, []string{"row level security hides rows of events from the role", "alter table events disable row level security"}},
		{"CheckpointsHaveRowSecurity", []string{"alter table projection_checkpoints enable row level security"}, "row security", Fail, []string{"alter table projection_checkpoints disable row level security"}},
		{"TokenIsLogged", []string{"alter table rouse_incarnation set logged"}, "engine", Warn, []string{"outlives a crash", "set unlogged"}},
		{"PositionsSkip", []string{"alter table events alter global_position set increment 2"}, "sequence", Fail, []string{"increment is 2", "set increment 1"}},
		{"PositionsFall", []string{"alter table events alter global_position set minvalue -1000 set increment -1"}, "sequence", Fail, []string{"increment is -1", "set increment 1"}},
		{"PushesAreMissed", []string{"update projection_workers set pushes_missed = 7, pushes_missed_at = now() - interval '9 minutes'"}, "pushes", Warn, []string{"a (process 4711 on host) has missed 7 pushes, the last 9m"}},

		{"SequenceJumps", []string{"select setval('events_global_position_seq', 1200000000000)"}, "sequence", Warn,
			[]string{"it is at 1200000000000, 1199999999997 positions beyond the last event", "only while nothing is appended"}},
		{"PositionsMayBeChosen", []string{"alter table events alter global_position set generated by default"}, "sequence", Fail, []string{"GENERATED ALWAYS"}},
		{"SequenceIsGone", []string{"alter table events alter global_position drop identity", "update projection_checkpoints set last_global_position = 0"}, "sequence", Fail, []string{"no sequence"}},
		{"SequenceIsBehind", []string{`insert into events (global_position, aggregate_type, aggregate_id, aggregate_version, event_type, payload)
			overriding system value values (1000, 'order', 'o-2', 1, 'OrderPlaced', '{}')`}, "sequence", Fail, []string{"it is at 3", "position 1000", "setval('public.events_global_position_seq', 1000)"}},
		{"SequenceIsRestarted", []string{"alter table events alter global_position restart"}, "sequence", Fail, []string{"it is at 0", "position 3"}},
		{"LogIsTruncated", []string{"truncate events restart identity"}, "checkpoints", Fail, []string{"4 checkpoints of orders", "position 3", "ends at 0"}},

		{"ProjectionIsStopped", []string{"update projections set state = 'stopped', last_error = 'no stock', error_position = 2, error_at = now()"}, "projections", Fail,
			[]string{"orders is stopped at position 2: no stock"}},
		{"ProjectionIsPaused", []string{"update projections set state = 'paused'"}, "projections", Warn, []string{"orders is paused"}},
		{"NobodyRunsIt", []string{"delete from projection_workers"}, "projections", Warn, []string{"no living worker runs orders", "start a worker that runs it, or if it is not wanted any more: rouse projection drop orders"}},
		{"AProgramHasADroppedProjection", []string{"insert into retired_projections (projection_name) values ('mails')", `update projection_workers set states = '{"orders": "live", "mails": "stopped"}'`},
			"projections", Warn, []string{"a has mails in its program, which was dropped", "rouse projection create mails --from"}},
		{"AProgramHasARenamedProjection", []string{"insert into retired_projections (projection_name, renamed_to) values ('bills', 'orders')", `update projection_workers set states = '{"orders": "live", "bills": "stopped"}'`},
			"projections", Warn, []string{"a has bills in its program, which is called orders now", "name it so in its program"}},
		{"WorkersRunOthersOnly", []string{`update projection_workers set states = '{"other": "live"}'`}, "projections", Warn, []string{"no living worker runs orders"}},
		{"ProjectionIsRetrying", []string{troubled("10 seconds")}, "projections", Warn, []string{"orders is retrying in a, for 1", "s: no connection is free", "goes on by itself"}},
		{"ProjectionIsRetryingForLong", []string{troubled("2 minutes")}, "projections", Fail, []string{"orders is retrying in a, for 2m", "s: no connection is free"}},
		{"ResetFails", []string{"update projections set reset_to = 0, reset_tries = 3, reset_error = 'must be owner of table'"}, "projections", Warn,
			[]string{"orders is to start over and has not, in 3 tries: must be owner of table"}},
		{"ProjectionIsWaiting", []string{troubled("2 minutes"), `update projection_workers set states = '{"orders": "waiting"}'`}, "projections", Fail, []string{"orders is waiting in a, for 2m", "goes on by itself"}},
		{"PartitionsAreFree", []string{"update projection_checkpoints set owner = null where partition in (1, 3)"}, "partitions", Warn, []string{"2 of 4 partitions of orders", "1, 3"}},
		{"HandlerHangs", []string{`update projection_workers set avoids = '{"orders": [2, 11]}'`}, "handlers", Warn, []string{"a handler of orders in a (process 4711 on host)", "2, 11", "restart"}},
		{"EventsAreParked", []string{`insert into parked_events (projection_name, global_position, slot, event_id, aggregate_type, aggregate_id, aggregate_version, event_type, parked_at)
			select 'orders', global_position, slot, event_id, aggregate_type, aggregate_id, aggregate_version, event_type, now() - interval '2 hours' from events where global_position > 1`},
			"parked events", Warn, []string{"orders has 2, aggregates that wait: 1", "2h0m", "rouse parked"}},
		{"EventsAreRetried", []string{`insert into parked_events (projection_name, global_position, slot, event_id, aggregate_type, aggregate_id, aggregate_version, event_type, parked_at, due_at, last_error)
			select 'orders', global_position, slot, event_id, aggregate_type, aggregate_id, aggregate_version, event_type, now() - interval '2 hours',
			case global_position when 2 then now() + interval '5 minutes' end, case global_position when 2 then e'no\n stock' else '' end from events where global_position > 1`},
			"retrying events", Warn, []string{"orders tries 2 again", "2h0m", "the event at position 2: no stock", "--by-aggregate"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			for _, sql := range tc.cause {
				b.exec(sql)
			}
			b.requireOnly(b.examine(), tc.check, tc.level, tc.says...)
		})
	}
}

// troubled is a statement by which the worker's projection does not get on since a time.
func troubled(since string) string {
	return `update projection_workers set states = '{"orders": "retrying"}',
		troubles = jsonb_build_object('orders', jsonb_build_object('text', 'no connection is free', 'since', now() - interval '` + since + `'))`
}

// One that is paused and stopped is both.
func TestProjectionThatIsPausedAndStoppedIsSaidToBeBoth(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec("update projections set state = 'paused', stopped_at = now(), last_error = 'no stock', error_position = 2, error_at = now()")
	r := b.examine()
	_, said := unwell(r)
	require.Contains(t, said, "fail projections: orders is stopped at position 2: no stock")
	require.Contains(t, said, "warn projections: orders is paused")
	require.Equal(t, 1, r.Failed)
	require.Equal(t, 1, r.Warned)
}

// TestSequenceMayBeAhead: also one that was told to begin there and has given nothing out since.
func TestSequenceMayBeAhead(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec("alter table events alter global_position restart with 1000000")
	b.requireWell()
}

func TestDeadWorkerIsNamed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.member(partition.Member{Instance: other, Label: "b", States: map[string]string{projection: "live"}, TTL: time.Second})
	b.exec("update projection_workers set heartbeat_at = heartbeat_at - interval '1 hour' where label = 'b'")
	b.requireOnly(b.examine(), "workers", Warn, "b (process 4711 on host) counts as dead", "1h0m")
}

// TestAppendThatStaysOpenIsNamed, as a session and as a prepared transaction, and only if events wait behind it.
func TestAppendThatStaysOpenIsNamed(t *testing.T) {
	t.Parallel()
	for _, prepared := range []bool{false, true} {
		b := setup(t)
		b.cfg.Long = time.Millisecond
		b.requireWell()
		conn := b.Conn(t)
		for _, sql := range []string{"begin", "insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values ('order', 'slow', 1, 'OrderPlaced', '{}')"} {
			_, err := conn.Exec(t.Context(), sql)
			require.NoError(t, err)
		}
		says := []string{"holds back everything after position 3", "select pg_terminate_backend("}
		if prepared {
			_, err := conn.Exec(t.Context(), "prepare transaction 'slow_"+b.Name+"'")
			require.NoError(t, err)
			says = []string{"holds back everything after position 3", `rollback prepared "slow_` + b.Name}
		}
		b.append(4, 4)
		testdb.Eventually(t, patience, "the append to be named", func() (bool, error) {
			checks, _ := unwell(b.examine())
			return slices.Contains(checks, "open appends"), nil
		})
		r := b.examine()
		checks, said := unwell(r)
		require.Equal(t, []string{"idle sessions", "open appends", "lag"}, checks, said)
		for _, text := range says {
			require.Contains(t, said, text)
		}
		b.cfg.Long = time.Hour
		b.requireOnly(b.examine(), "open appends", Warn, "holds back everything after position 3", "nothing, if it ends in a moment; otherwise ")
	}
}

// TestLagIsNamed, of projections that a worker is to handle events of.
func TestLagIsNamed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(4, 5)
	r := b.examine()
	_, said := unwell(r)
	require.Empty(t, said)
	require.True(t, slices.ContainsFunc(r.Findings, func(f Finding) bool {
		return f.Check == "lag" && strings.HasPrefix(f.Text, "none is behind for longer than 1m0s, the furthest is "+projection+" with 2 positions and ")
	}), r.Findings)
	b.exec("alter table events disable trigger user")
	b.exec("update events set created_at = created_at - interval '10 minutes'")
	b.exec("alter table events enable always trigger rouse_append_before")
	b.exec("alter table events enable always trigger rouse_append_after")
	b.requireOnly(b.examine(), "lag", Warn, projection+" is 2 positions and 10m", "more workers or --concurrency")
	b.exec("update projections set state = 'paused'")
	b.requireOnly(b.examine(), "projections", Warn, "is paused")
}

func TestSessionThatIsIdleInATransactionIsNamed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	conn := b.Conn(t)
	_, err := conn.Exec(t.Context(), "begin")
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "select 1")
	require.NoError(t, err)
	b.cfg.Long = time.Millisecond
	testdb.Eventually(t, patience, "the session to be named", func() (bool, error) { return b.examine().Warned > 0, nil })
	b.requireOnly(b.examine(), "idle sessions", Warn, "idle in a transaction", "pg_terminate_backend(")
	_, err = conn.Exec(t.Context(), "rollback")
	require.NoError(t, err)
	b.requireWell()
}

// Pushes that were missed long ago, or by a worker that is gone, say nothing about now.
func TestPushesMissedLongAgoAreForgotten(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec("update projection_workers set pushes_missed = 7, pushes_missed_at = now() - interval '11 minutes'")
	b.requireWell()
}
