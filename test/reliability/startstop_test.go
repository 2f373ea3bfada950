package reliability_test

import (
	"context"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/eventstore"
	dialer "github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/internal/pgserver"
	"github.com/rouse-es/rouse/internal/signal"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/listener"
	"github.com/rouse-es/rouse/partition"
)

// times is how often something is started and stopped: few in ordinary runs, many with ROUSE_STRESS.
func times(few, many int) int {
	if os.Getenv("ROUSE_STRESS") != "" {
		return many
	}
	return few
}

// stopsAnytime starts a service n times, two at a time, and cancels it at any moment of its first fraction of a second. It
// must come back each time. That it leaves no goroutine behind is seen at the end of all tests, see testdb.Main.
func stopsAnytime(t *testing.T, n int, within time.Duration, run func(ctx context.Context) error) {
	t.Helper()
	var wg sync.WaitGroup
	defer wg.Wait()
	for range 2 {
		wg.Go(func() {
			for i := 0; i < n/2 && !t.Failed(); i++ {
				after := time.Duration(rand.Int64N(int64(within)))
				ctx, cancel := context.WithTimeout(context.Background(), after)
				ended := make(chan error, 1)
				go func() { ended <- run(ctx) }()
				select {
				case err := <-ended:
					if err != nil {
						t.Errorf("cancelled after %v: %v", after, err)
					}
				case <-time.After(patience):
					t.Errorf("cancelled after %v, it has not come back within %v", after, patience)
				}
				cancel()
			}
		})
	}
}

// nothingLeft wants the server to have no session with a lock of anybody, and every partition to be free.
func nothingLeft(t *testing.T, db *testdb.DB) {
	t.Helper()
	testdb.Eventually(t, patience, "the sessions to be gone", func() (left bool, err error) {
		err = db.Pool.QueryRow(t.Context(), `select count(*) = 0 from pg_locks where locktype = 'advisory'
			and database = (select oid from pg_database where datname = current_database())`).Scan(&left)
		return left, err
	})
	var owned int
	require.NoError(t, db.Pool.QueryRow(t.Context(), "select count(*) from projection_checkpoints where owner is not null").Scan(&owned))
	require.Zero(t, owned)
}

// Workers that are stopped at any moment while they start, share, listen and handle end without an error and leave nothing
// behind, and whoever comes last finds everything in its place.
func TestWorkersStopAtAnyMoment(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	own := newDatabase(t, db.URL)
	require.NoError(t, own.run(t.Context(), statement("tables")))
	r := newRecord()
	watch := startWatcher(own.url)
	t.Cleanup(watch.stop)
	writers := startAppenders(t, 1, 200, r, watch, nil, db.URL)
	for _, listens := range []bool{true, false} {
		stopsAnytime(t, times(16, 1000), 400*time.Millisecond, func(ctx context.Context) error {
			w, err := rouse.New(db.Pool, rouse.Config{
				Projections: []rouse.Projection{recorder{"startstop"}}, Partitions: partitions, PollOnly: !listens,
			})
			if err != nil {
				return err
			}
			return w.Run(ctx)
		})
	}
	writers.halt()
	last, err := rouse.New(db.Pool, rouse.Config{Projections: []rouse.Projection{recorder{"last"}}})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, last.Drain(ctx))
	watch.stop()

	a := &arena{t: t, db: own, record: r, seats: []*seat{{folder: t.TempDir()}}}
	e, err := a.collect(t.Context())
	require.NoError(t, err)
	v := judge(e)
	v.EffectsLost = 0 // nobody does them here
	require.True(t, v.sound(), "%+v", v)
	nothingLeft(t, db)
}

func TestListenersStopAtAnyMoment(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	log, err := catchup.Open(t.Context(), db.Pool)
	require.NoError(t, err)
	stopsAnytime(t, times(40, 2000), 100*time.Millisecond, func(ctx context.Context) error {
		l := listener.New(listener.Config{
			Dialer: dialer.DialerOf(db.Pool.Config().ConnConfig), Pool: db.Pool, Events: log.Events, Sequence: log.Sequence,
			Instance: eventstore.NewID().String(), Presence: 1 + rand.Int32N(1<<30),
		})
		_, forget := l.Subscribe()
		defer forget()
		l.Run(ctx)
		return nil
	})
	nothingLeft(t, db)
}

func TestControlsStopAtAnyMoment(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	conn, err := pgx.ParseConfig(db.URL)
	require.NoError(t, err)
	stopsAnytime(t, times(40, 2000), 100*time.Millisecond, func(ctx context.Context) error {
		me := partition.Member{Instance: eventstore.NewID().String(), Label: "startstop"}
		c := partition.NewControl(partition.ControlConfig{
			Dialer: dialer.DialerOf(conn), Presence: 1 + rand.Int32N(1<<30), TTL: time.Second,
			Row: func() partition.Member { return me },
		})
		c.Run(ctx)
		return nil
	})
	nothingLeft(t, db)
}

// A server that is stopped while it is made or started is gone afterwards; one that was started is stopped in order.
func TestServersStopAtAnyMoment(t *testing.T) {
	t.Parallel()
	stopsAnytime(t, times(2, 40), 3*time.Second, func(ctx context.Context) error {
		s, err := pgserver.Start(ctx, pgserver.Config{Settings: map[string]string{"fsync": "off"}})
		if err != nil && ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		<-ctx.Done()
		return s.Stop(context.WithoutCancel(ctx))
	})
}

func TestSignalsStopAtAnyMoment(t *testing.T) {
	t.Parallel()
	stopsAnytime(t, times(200, 20000), time.Millisecond, func(parent context.Context) error {
		ctx, stop := signal.Context(parent)
		defer stop()
		<-ctx.Done()
		return nil
	})
}
