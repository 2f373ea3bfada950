package migrations_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

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
		"grant select, insert on public.rouse_incarnation to " + role,
		"grant select on public.rouse_members to " + role,
		"grant update on public.rouse_restart to " + role,
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

	b.exec("drop view rouse_members")
	err := check()
	require.ErrorIs(t, err, migrations.ErrIncomplete)
	require.ErrorContains(t, err, "there is no rouse_members (")
}
