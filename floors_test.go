package rouse_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/partition"
)

// restful is a pool that knows when it was last used.
func (b *bundle) restful() (pool *pgxpool.Pool, rests func() bool) {
	b.t.Helper()
	cfg, err := pgxpool.ParseConfig(b.URL)
	require.NoError(b.t, err)
	var last atomic.Int64
	cfg.PrepareConn = func(context.Context, *pgx.Conn) (bool, error) { last.Store(time.Now().UnixNano()); return true, nil }
	pool, err = pgxpool.NewWithConfig(b.ctx, cfg)
	require.NoError(b.t, err)
	b.t.Cleanup(pool.Close)
	return pool, func() bool { return time.Since(time.Unix(0, last.Load())) > 300*time.Millisecond }
}

// A worker that takes partitions from one that was ahead goes on, however old its own reading of the end of the log is, for which
// another projection of its process may be the reason.
func TestPartitionsOfAWorkerThatWasAheadAreTakenOn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ahead := partition.Member{Instance: "01900000-0000-7000-8000-00000000000a", Label: "ahead", States: map[string]string{"y": "live"}, TTL: time.Hour}
	require.NoError(t, ahead.Heartbeat(b.ctx, b.Pool))
	_, err := partition.Ensure(b.ctx, b.Pool, "y", 0)
	require.NoError(t, err)
	b.exec("update projection_checkpoints set owner = $1::text::uuid", ahead.Instance)

	inHand, goOn := make(chan struct{}), make(chan struct{})
	defer sync.OnceFunc(func() { close(goOn) })()
	var once sync.Once
	slow := projection{name: "z", hook: func(ctx context.Context, _ pgx.Tx, _ eventstore.Event) error {
		once.Do(func() { close(inHand) })
		select {
		case <-goOn:
		case <-ctx.Done():
		}
		return ctx.Err()
	}}
	pool, rests := b.restful()
	w := b.start(pool, rouse.Config{BatchSize: 1, Projections: []rouse.Projection{slow, projection{name: "y"}}})
	w.WaitState("y", rouse.StateStandby)
	w.WaitState("z", rouse.StateLive)
	b.appendAll("e", "e", "e", "e", "e", "e", "e", "e", "e", "e")
	<-inHand
	testdb.Eventually(t, patience, "the end of the log to be read as far ahead as it may be", func() (bool, error) { return rests(), nil })

	var last int64
	for range 20 {
		last = b.append("e")
	}
	b.exec("update projection_checkpoints set owner = null, last_global_position = case partition when 7 then $1::bigint else 3 end where projection_name = 'y'", last)
	require.NoError(t, ahead.Leave(b.ctx, b.Pool))
	testdb.Eventually(t, patience, "y to handle what the other one had not", func() (bool, error) {
		require.NotEqual(t, rouse.StateStopped, w.Status().States["y"], "the log does not end before a checkpoint")
		return b.int("select count(*) from done where projection = 'y'") ==
			b.int("select count(*) from events where global_position > 3 and slot & 31 <> 7"), nil
	})
	w.Cancel()
}
