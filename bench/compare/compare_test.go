package compare

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/pgserver"
)

// TestEverySideDoesTheWork: all of it is in the read model of each, of the naive one at least most.
func TestEverySideDoesTheWork(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	server, err := pgserver.Start(ctx, pgserver.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Stop(context.Background())) })
	require.NoError(t, server.CreateDatabase(ctx, "compare"))
	r, err := Run(ctx, Options{
		Address: server.URL("compare"), Rounds: 1, Events: 1500, Upserts: 1200, Timed: 3, Writers: 3, Length: 300 * time.Millisecond,
		Tuning: Tuning{Batch: 600, Poll: 10 * time.Millisecond}, River: RiverTuning{Workers: 20, Cooldown: time.Millisecond}, Log: func(line string) { t.Log(line) }, settle: 300 * time.Millisecond,
	})
	require.NoError(t, err)
	require.Len(t, r.Sides, 4)
	for _, s := range r.Sides {
		assert.Positive(t, s.Idle, s.Name)
		assert.Positive(t, s.Upsert, s.Name)
		assert.Positive(t, s.Latency.P50, s.Name)
		assert.Positive(t, s.Appended, s.Name)
		if s.Name != Naive {
			assert.Zero(t, s.Lost, s.Name)
		}
	}
}
