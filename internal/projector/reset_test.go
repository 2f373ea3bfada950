package projector_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/internal/projector"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/partition"
	"github.com/rouse-es/rouse/projection"
)

func TestMain(m *testing.M) { testdb.Main(m) }

// A reset may take longer than a few statements do, before the loop counts as one that does not run.
func TestResetMayTakeItsTime(t *testing.T) {
	t.Parallel()
	d := testdb.New(t)
	_, err := partition.Ensure(t.Context(), d.Pool, "p", 0)
	require.NoError(t, err)
	_, err = projection.Reset(t.Context(), d.Pool, "p", 0, false)
	require.NoError(t, err)
	called := false
	var p *projector.Projector
	p = projector.New(projector.Config{Process: projector.Process{Pool: db.In(d.Pool, "public")}, Name: "p", Reset: func(context.Context, pgx.Tx) error {
		called = true
		require.False(t, projector.Late(p))
		return nil
	}})
	projector.WorkingFor(p, time.Nanosecond) // as at the end of the minute that other work has
	require.True(t, projector.Late(p))
	require.NoError(t, projector.StartOver(t.Context(), p))
	require.True(t, called)
}
