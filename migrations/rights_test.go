package migrations_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/internal/randid"
	"github.com/rouse-es/rouse/migrations"
)

// TestCheckRightsNamesWhatIsMissing: one by one, until the role may do what a worker does and no more.
func TestCheckRightsNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.up()
	role := pgx.Identifier{b.Name + " Worker"}.Sanitize() // roles are the server's, and names may be quoted
	b.exec("create role " + role)
	t.Cleanup(func() {
		b.exec("reset role")
		b.exec("drop owned by " + role)
		b.exec("drop role " + role)
	})
	require.NoError(t, migrations.CheckRights(b.ctx, b.conn), "an owner may do everything")
	check := func() error {
		b.exec("set role " + role)
		defer b.exec("reset role")
		return migrations.CheckRights(b.ctx, b.conn)
	}
	grants := []string{
		"grant select, insert, update, delete on public.event_attempts to " + role,
		"grant select on public.events to " + role,
		"grant select, insert, update, delete on public.parked_events to " + role,
		"grant select, insert, update on public.projection_checkpoints to " + role,
		"grant select, insert, update, delete on public.projection_workers to " + role,
		"grant select, insert, update on public.projections to " + role,
		"grant select on sequence public.events_global_position_seq to " + role,
		"grant select on public.retired_projections to " + role,
		"grant select, insert on public.rouse_incarnation to " + role,
		"grant select on public.rouse_members to " + role,
		"grant update on public.rouse_restart to " + role,
		"grant select on public.rouse_archives to " + role,
		"grant select on public.rouse_retention to " + role,
	}
	for i, grant := range grants {
		err := check()
		require.ErrorIs(t, err, migrations.ErrRights)
		for _, missing := range grants[i:] {
			require.ErrorContains(t, err, missing)
		}
		for _, given := range grants[:i] {
			require.NotContains(t, err.Error(), given)
		}
		b.exec(grant)
	}
	require.NoError(t, check())

	b.exec("revoke insert, update on projections from " + role)
	require.ErrorContains(t, check(), "(run as the owner of the schema: grant insert, update on public.projections to "+role+")")
	b.exec("grant insert (projection_name, partitions), update (state) on projections to " + role)
	require.NoError(t, check(), "grants on columns may do")

	b.exec("revoke insert on projection_checkpoints from " + role)
	b.exec("grant insert (projection_name, partition) on projection_checkpoints to " + role)
	require.ErrorContains(t, check(), "grant insert on public.projection_checkpoints to "+role, "a save inserts more than that")
	b.exec("grant insert (epoch, last_global_position, event_id, event_position, room) on projection_checkpoints to " + role)
	require.NoError(t, check())

	b.exec("revoke execute on function rouse_incarnation_now(uuid) from public")
	require.ErrorContains(t, check(), "(run as the owner of the schema: grant execute on function rouse_incarnation_now(uuid) to "+role+")")
	b.exec("grant execute on function rouse_incarnation_now(uuid) to public")
	require.NoError(t, check())

	b.exec("drop view rouse_members")
	err := check()
	require.ErrorIs(t, err, migrations.ErrIncomplete)
	require.ErrorContains(t, err, "there is no rouse_members (")
}

// Hosted platforms switch row level security on by default. Where it is active for the role, rows may be hidden from it, whatever the
// policies say; the owner's is active only if it is forced.
func TestCheckRightsRefusesRowLevelSecurity(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.up()
	for _, table := range []string{"events", "projections", "retired_projections", "projection_checkpoints", "projection_workers", "parked_events", "event_attempts", "rouse_incarnation", "rouse_restart"} {
		role := b.worker()
		require.NoError(t, b.checkAs(role))
		b.exec("alter table " + table + " enable row level security")
		require.NoError(t, migrations.CheckRights(b.ctx, b.conn), "a superuser sees everything")
		err := b.checkAs(role)
		require.ErrorIs(t, err, migrations.ErrRowSecurity)
		require.ErrorContains(t, err, "(run as the owner of the schema: alter table public."+table+" disable row level security; or give the role BYPASSRLS)")
		b.exec("alter role " + role + " bypassrls")
		require.NoError(t, b.checkAs(role))
		b.exec("alter table " + table + " disable row level security")
	}
}

// A handler may have changed the search_path of the connection that looks.
func TestCheckRightsLooksInTheSchemaThatWasFound(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.up()
	cfg := b.Pool.Config()
	cfg.ConnConfig.RuntimeParams["search_path"] = "elsewhere"
	pool, err := pgxpool.NewWithConfig(b.ctx, cfg)
	require.NoError(t, err)
	defer pool.Close()
	require.ErrorIs(t, migrations.CheckRights(b.ctx, pool), migrations.ErrIncomplete)
	require.NoError(t, migrations.CheckRights(b.ctx, db.In(pool, "public")))
}

// worker makes a role with the rights of a worker.
func (b *bundle) worker() (role string) {
	role = "worker_" + randid.Hex(6)
	b.exec("create role " + role)
	b.t.Cleanup(func() {
		b.exec("drop owned by " + role)
		b.exec("drop role " + role)
	})
	b.exec("grant select, insert, update, delete on all tables in schema public to " + role)
	b.exec("grant select on all sequences in schema public to " + role)
	return role
}

// checkAs checks the rights of a role.
func (b *bundle) checkAs(role string) error {
	b.exec("set role " + role)
	defer b.exec("reset role")
	return migrations.CheckRights(b.ctx, b.conn)
}
