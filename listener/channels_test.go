package listener_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/listener"
	"github.com/rouse-es/rouse/migrations"
)

// What nobody asked for costs nothing: a NOTIFY makes one commit wait for the other.
func TestPush_NobodyAsleepNobodyNotified(t *testing.T) {
	t.Parallel()
	b := setup(t)
	channel := wakeChannel(b.log.Events)
	e := b.listen(t, channel)
	b.append(t)
	require.Empty(t, e.heard(t), "listening is not sleeping")

	e.sleep(t, b.log.Events)
	b.append(t)
	require.Equal(t, []string{channel}, e.heard(t))

	_, err := b.Pool.Exec(b.ctx, insertSQL, "many rows", 1, 100)
	require.NoError(t, err)
	require.Equal(t, []string{channel}, e.heard(t), "one statement of many rows is one notification")

	_, err = e.conn.Exec(b.ctx, "select pg_advisory_unlock_shared(1919907155, $1)", int32(b.log.Events))
	require.NoError(t, err)
	b.append(t)
	require.Empty(t, e.heard(t), "the sleeper is awake")
}

// A sleeper whose connection is gone is asleep no more.
func TestPush_TheDeadAreNotNotified(t *testing.T) {
	t.Parallel()
	b := setup(t)
	asleep := b.listen(t)
	asleep.sleep(t, b.log.Events)
	b.terminate(t, int32(asleep.conn.PgConn().PID()))
	testdb.Eventually(t, patience, "the lock to go with the connection", func() (bool, error) { return len(b.locks(t)) == 0, nil })
	e := b.listen(t, wakeChannel(b.log.Events))
	b.append(t)
	require.Empty(t, e.heard(t))
}

// A sleeper in another database, or one that sleeps on another table, is not meant.
func TestPush_TwoSchemasInOneDatabaseDoNotWakeEachOther(t *testing.T) {
	t.Parallel()
	a := setup(t)
	b := a.schema(t, "other")
	require.NotEqual(t, a.log.Events, b.log.Events)
	toA, toB := wakeChannel(a.log.Events), wakeChannel(b.log.Events)
	e := a.listen(t, toA, toB)

	e.sleep(t, a.log.Events)
	b.append(t)
	require.Empty(t, e.heard(t), "nobody sleeps on schema b")
	a.append(t)
	require.Equal(t, []string{toA}, e.heard(t))

	e.sleep(t, b.log.Events)
	b.append(t)
	require.Equal(t, []string{toB}, e.heard(t))
	a.append(t)
	require.Equal(t, []string{toA}, e.heard(t))
}

// The same with two listeners, as they run.
func TestPush_ListenersOfTwoSchemasWakeForTheirOwn(t *testing.T) {
	t.Parallel()
	a := setup(t)
	b := a.schema(t, "other")
	cfgA, _ := a.config(t)
	cfgB, _ := b.config(t)
	cfgB.Presence++
	la, lb := a.run(t, cfgA), b.run(t, cfgB)
	for _, l := range []*running{la, lb} {
		testdb.Eventually(t, patience, "the listener to arm", l.quiet)
	}
	wokenA, leaveA := la.Subscribe()
	defer leaveA()
	wokenB, leaveB := lb.Subscribe()
	defer leaveB()

	b.append(t)
	receive(t, wokenB)
	requireNotWoken(t, la, wokenA)
	a.append(t)
	receive(t, wokenA)
	require.False(t, la.State().LastWake.IsZero())
}

// receive waits for a wake.
func receive(t *testing.T, w *listener.Wake) {
	t.Helper()
	select {
	case <-w.C:
	case <-time.After(patience):
		t.Fatal("waited in vain for a wake")
	}
}

// requireNotWoken proves by a notification that comes later, a probe, that no append has woken the listener so far.
func requireNotWoken(t *testing.T, l *running, w *listener.Wake) {
	t.Helper()
	l.probe(t) // it may have been sent before the call
	l.probe(t)
	require.True(t, l.State().Proven)
	require.Zero(t, l.State().LastWake)
	select {
	case <-w.C:
		t.Fatal("woken by what was meant for others")
	default:
	}
}

// schema makes another schema in the same database, with a pool of its own.
func (b *testBundle) schema(t *testing.T, name string) *testBundle {
	t.Helper()
	conn := b.Conn(t)
	_, err := conn.Exec(b.ctx, "create schema "+name)
	require.NoError(t, err)
	_, err = conn.Exec(b.ctx, "set search_path = "+name)
	require.NoError(t, err)
	_, err = migrations.Up(b.ctx, conn)
	require.NoError(t, err)

	address, err := url.Parse(b.URL)
	require.NoError(t, err)
	query := address.Query()
	query.Set("search_path", name)
	address.RawQuery = query.Encode()
	pool, err := pgxpool.New(b.ctx, address.String())
	require.NoError(t, err)
	t.Cleanup(pool.Close)

	db := *b.DB
	db.URL, db.Pool = address.String(), pool
	other := &testBundle{DB: &db, ctx: b.ctx}
	other.log, err = catchup.Open(b.ctx, pool)
	require.NoError(t, err)
	other.token, err = catchup.CurrentToken(b.ctx, pool)
	require.NoError(t, err)
	return other
}
