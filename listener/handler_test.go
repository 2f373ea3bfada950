package listener

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
)

// When the next probe is due, by a clock of the test's own.
func TestProber_ProbesAreDueAsRarelyAsAProofAllows(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		cfg  ConnectionConfig
		then func(c *Connection)
		due  time.Duration
	}{
		"at rest":                  {due: restInterval},
		"after an append's push":   {then: func(c *Connection) { wait(3*time.Second, c.heard) }, due: restInterval},
		"among appends, for long":  {then: func(c *Connection) { wait(27*time.Second, c.heard) }, due: time.Second},
		"with something to try":    {then: func(c *Connection) { c.setUnsettled(true) }, due: triesInterval},
		"with a queue that fills":  {then: func(c *Connection) { c.setFull(true) }, due: triesInterval},
		"and so it is with pushes": {then: func(c *Connection) { c.setFull(true); wait(time.Second, c.heard) }, due: triesInterval - time.Second},
		"as rarely as asked":       {cfg: ConnectionConfig{ProbeInterval: time.Minute}, due: time.Minute},
		"asked, and pushed":        {cfg: ConnectionConfig{ProbeInterval: time.Minute}, then: func(c *Connection) { wait(time.Second, c.heard) }, due: time.Minute - time.Second},
		"asked, something to try":  {cfg: ConnectionConfig{ProbeInterval: time.Minute}, then: func(c *Connection) { c.setUnsettled(true) }, due: time.Minute},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := NewConnection(tt.cfg)
				c.prober.sentAt = time.Now()
				c.proved()
				if tt.then != nil {
					tt.then(c)
				}
				require.Equal(t, tt.due, c.prober.due())
			})
		})
	}
	require.LessOrEqual(t, restInterval+probeTimeout, 9*time.Second, "a connection that is deaf is noticed within ten")
}

// wait lets time pass before it calls then.
func wait(passes time.Duration, then func()) {
	<-time.After(passes)
	then()
}

// Only what another session has sent proves that something comes through, and only where a probe has come through before.
func TestHandler_WhatProvesThatAConnectionDelivers(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn := testdb.New(t).Conn(t)
	c := NewConnection(ConnectionConfig{Instance: "i"})
	h := newHandler(c, nil)
	h.conn = conn
	own := conn.PgConn().PID()
	comes := func(from uint32) time.Time {
		require.NoError(t, h.take(ctx, &pgconn.Notification{PID: from, Channel: "rouse_1"}))
		return c.provenAt
	}
	require.Zero(t, comes(own+1), "a pooler may pass on what was sent to others")
	c.proved()
	proven := c.provenAt
	require.Equal(t, proven, comes(own), "what it sends to itself does not come from the server's queue")
	require.True(t, comes(own+1).After(proven))
}

// Appends that probe hold S for a moment: who is refused then must not poll until the next probe.
func TestHandler_TriesAgainWhereSWasRefused(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	db := testdb.New(t)
	conn, stranger := db.Conn(t), db.Conn(t)
	l := New(Config{Pool: db.Pool, Events: 1, Instance: "i"})
	require.NoError(t, conn.QueryRow(ctx, "select 'events_global_position_seq'::regclass::oid").Scan(&l.cfg.Sequence))
	l.setEntered(true)
	h, s := newHandler(l.c, nil), &seat{l: l, wakes: l.cfg.Channel()}
	h.conn, h.seats[l] = conn, s
	hold := func(sql string) {
		_, err := stranger.Exec(ctx, sql)
		require.NoError(t, err)
	}

	hold("select pg_advisory_lock(1919907155, 1)")
	require.NoError(t, h.arm(ctx, h.in(waiting)))
	require.Equal(t, refused, s.phase)
	hold("select pg_advisory_unlock(1919907155, 1)")
	require.NoError(t, h.rest(ctx))
	require.Equal(t, armed, s.phase)
	require.Equal(t, Quiet, l.State().Mode)

	require.NoError(t, h.release(ctx, h.in(armed), waiting))
	hold("select pg_advisory_lock(1919907155, 1)")
	require.NoError(t, h.arm(ctx, h.in(waiting)))
	require.NoError(t, h.rest(ctx), "a stranger is no reason to give the connection up")
	require.Equal(t, waiting, s.phase, "until the next probe")
	require.Equal(t, Polling, l.State().Mode)
	require.True(t, s.said)
}
