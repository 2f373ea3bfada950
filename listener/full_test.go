package listener

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
)

// A notification queue that is full makes appends fail. So nobody adds to it by sleeping while it fills up.
func TestFullQueue_ReleasesSUntilItHasDrained(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	db := testdb.New(t)
	conn := db.Conn(t)
	l := New(Config{Pool: db.Pool, Events: 1, Instance: "full", Presence: 1})
	require.NoError(t, db.Pool.QueryRow(ctx, "select 'events_global_position_seq'::regclass::oid").Scan(&l.cfg.Sequence))
	h := newHandler(l.c, nil)
	l.c.enter(l)
	require.NoError(t, h.HandleBacklog(ctx, l.c.prober.channel(), conn))

	probe := func() {
		l.c.prober.number++
		n := &pgconn.Notification{Channel: l.c.prober.channel(), Payload: strconv.FormatInt(l.c.prober.number, 10)}
		require.NoError(t, h.HandleNotification(ctx, n, conn))
	}
	requireHeld := func(mode Mode, sleepers int) {
		t.Helper()
		require.Equal(t, mode, l.State().Mode)
		var held int
		require.NoError(t, db.Pool.QueryRow(ctx, `select count(*) from pg_locks where locktype = 'advisory' and classid = 1919907155
			and pid = $1`, int32(conn.PgConn().PID())).Scan(&held))
		require.Equal(t, sleepers, held, "sessions that hold S")
	}

	requireHeld(Polling, 0)
	probe()
	requireHeld(Quiet, 1)
	l.c.setFull(true)
	requireHeld(Quiet, 1) // only a handler may use the connection, and the next probe is not far
	probe()
	requireHeld(Polling, 0)
	require.True(t, l.State().Proven, "it still delivers")
	require.Zero(t, l.State().ArmedHead)
	probe()
	requireHeld(Polling, 0)
	l.c.setFull(false)
	probe()
	requireHeld(Quiet, 1)
	probe()
	requireHeld(Quiet, 1)

	// The same where a torrent ends: here at once, since the log has been calm for an hour.
	l.c.setFull(true)
	require.NoError(t, h.release(ctx, h.in(armed), torrent))
	require.Equal(t, Torrent, l.State().Mode)
	l.Observe(0, 0, false)
	l.pressure.calmSince = l.pressure.calmSince.Add(-time.Hour)
	require.NoError(t, h.rest(ctx))
	requireHeld(Polling, 0)
	l.c.setFull(false)
	probe()
	requireHeld(Quiet, 1)
}

// A connection in an unknown state is given up: who could not release S must not go on as if.
func TestHandler_ClosesAConnectionThatItCannotUse(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	db := testdb.New(t)
	conn := db.Conn(t)
	l := New(Config{Pool: db.Pool, Events: 1, Sequence: 1, Instance: "broken", Presence: 1}) // there is no such sequence
	h := newHandler(l.c, nil)
	l.c.enter(l)
	require.NoError(t, h.HandleBacklog(ctx, l.c.prober.channel(), conn))
	n := &pgconn.Notification{Channel: l.c.prober.channel(), Payload: "0"}
	require.Error(t, h.HandleNotification(ctx, n, conn))
	require.True(t, conn.IsClosed())
	require.NotEqual(t, Quiet, l.State().Mode)
	testdb.Eventually(t, time.Minute, "S to go with the connection", func() (gone bool, err error) {
		err = db.Pool.QueryRow(ctx, "select not exists (select from pg_locks where locktype = 'advisory' and pid = $1)",
			int32(conn.PgConn().PID())).Scan(&gone)
		return gone, err
	})
}

// A probe of the past proves nothing.
func TestProber_OnlyTheCurrentProbeIsAProof(t *testing.T) {
	t.Parallel()
	c := NewConnection(ConnectionConfig{Instance: "3-1-4"})
	require.Equal(t, "rouse_probe_314", c.prober.channel(), "a channel of its own, and a name without dashes")
	c.prober.number = 7
	require.False(t, c.prober.arrived("6"))
	require.False(t, c.prober.arrived(""))
	require.True(t, c.prober.arrived("7"))
	require.True(t, c.prober.arrived("7"), "and it does not wait for anybody to look")
}
