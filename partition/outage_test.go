package partition_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/partition"
)

// Two hours without a server, by a clock of the test's own: the control connection is asked for again and again, with pauses that
// grow to a second and a half, and never given up.
func TestControlAsksForItsConnectionForEver(t *testing.T) {
	t.Parallel()
	const outage = 2 * time.Hour
	conn, err := pgx.ParseConfig("postgres://nobody@192.0.2.1/nowhere?sslmode=disable")
	require.NoError(t, err)
	conn.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), outage)
		defer cancel()
		var asked []time.Time
		conn.DialFunc = func(context.Context, string, string) (net.Conn, error) {
			if asked = append(asked, time.Now()); len(asked) > 1_000_000 {
				cancel() // no pauses at all, so that the clock stands still
			}
			return nil, errors.New("refused by the test")
		}
		start := time.Now()
		c := partition.NewControl(partition.ControlConfig{
			Dialer: db.DialerOf(conn), Presence: 1, TTL: partition.DefaultTTL,
			Row: func() partition.Member { return partition.Member{Label: "nobody"} },
		})
		c.Run(ctx)
		var pauses []time.Duration
		for last := start; len(asked) > 0; asked = asked[1:] {
			pauses = append(pauses, asked[0].Sub(last))
			last = asked[0]
		}
		require.Less(t, pauses[1], 100*time.Millisecond, "back at once after a short break")
		require.LessOrEqual(t, slices.Max(pauses), 1500*time.Millisecond, "a second and its jitter, well within a lease")
		require.Greater(t, slices.Min(pauses[len(pauses)/2:]), 400*time.Millisecond)
		var sum time.Duration
		for _, p := range pauses {
			sum += p
		}
		require.Greater(t, sum, outage-time.Minute, "it has not given up on the way")
	})
}
