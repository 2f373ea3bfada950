package partition_test

import (
	"bytes"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/partition"
)

// A migration that is kept from the members' table gives up after 1.2 s and lets all others pass. A heartbeat that has queued behind
// it waits for that, and is no trouble that anybody need be warned of.
func TestHeartbeatWaitsForAMigrationThatIsInTheWay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var log bytes.Buffer
	c, _ := b.controlWith(func(cfg *partition.ControlConfig, _ *pgx.ConnConfig) {
		cfg.Log = zerolog.New(zerolog.SyncWriter(&log))
	})
	reads := b.begin() // as a dump does
	_, err := reads.Exec(b.ctx, "lock table projection_workers in access share mode")
	require.NoError(t, err)
	for range 2 { // the heartbeat of one comes before or behind the other's
		migration := b.begin()
		_, err = migration.Exec(b.ctx, "set local lock_timeout = '1200ms'")
		require.NoError(t, err)
		refused := make(chan error, 1)
		go func() {
			_, err := migration.Exec(b.ctx, "lock table projection_workers in access exclusive mode")
			refused <- err
		}()
		testdb.Eventually(t, patience, "the migration to wait", func() (bool, error) { return b.lockWaits() >= 1, nil })
		c.Beat()
		require.ErrorContains(t, <-refused, "55P03")
		require.NoError(t, migration.Rollback(b.ctx))
		before := b.text("select max(heartbeat_at)::text from projection_workers")
		c.Beat()
		testdb.Eventually(t, patience, "a heartbeat", func() (bool, error) {
			return b.text("select max(heartbeat_at)::text from projection_workers") > before, nil
		})
	}
	c.stop()
	require.NotContains(t, log.String(), "warn")
}
