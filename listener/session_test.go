package listener_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/listener"
)

func TestSession_HoldsItsLocksWhileItIsConnected(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cfg, wires := b.config(t)
	l := b.run(t, cfg)
	first := b.armed(t, l)
	require.Equal(t, []lock{{first, "sleeper", true}, {first, "presence", true}}, b.locks(t))
	require.True(t, l.State().Present)
	require.True(t, l.State().Proven)

	wires.refuse(true)
	b.terminate(t, first)
	testdb.Eventually(t, patience, "the locks to go with the connection", func() (bool, error) { return len(b.locks(t)) == 0, nil })
	testdb.Eventually(t, patience, "the listener to notice", func() (bool, error) { return l.State().Mode == listener.Polling, nil })
	require.Equal(t, listener.State{Mode: listener.Polling}, l.State(), "nothing is remembered of a connection that is gone")

	wires.refuse(false)
	second := b.armed(t, l)
	require.Equal(t, []lock{{second, "sleeper", true}, {second, "presence", true}}, b.locks(t))

	l.stop()
	testdb.Eventually(t, patience, "the locks to go with the listener", func() (bool, error) { return len(b.locks(t)) == 0, nil })
	require.Equal(t, listener.State{Mode: listener.Polling}, l.State())
}

func TestSession_SleepsUndisturbedAndIsMissedSoon(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cfg, _ := b.config(t)
	conn := b.Conn(t)
	_, err := conn.Exec(b.ctx, "set idle_session_timeout = '1h'")
	require.NoError(t, err)
	require.NoError(t, listener.NewHandler(listener.New(cfg), conn).Prepare(b.ctx))
	want := map[string]string{"idle_session_timeout": "0", "client_connection_check_interval": "100ms"}
	if conn.PgConn().Conn().RemoteAddr().Network() == "tcp" {
		want["tcp_user_timeout"] = "2000" // ms
		want["tcp_keepalives_idle"], want["tcp_keepalives_interval"], want["tcp_keepalives_count"] = "1", "1", "9"
	}
	for name, want := range want {
		var value string
		require.NoError(t, conn.QueryRow(b.ctx, "select current_setting($1)", name).Scan(&value))
		assert.Equal(t, want, value, name)
	}
	require.Equal(t, []lock{{int32(conn.PgConn().PID()), "presence", true}}, b.locks(t), "it does not sleep yet")
}

// Another session may still hold the lock, such as the session of a connection that was cut off and that the server has not missed
// yet. It is taken when they let go of it.
func TestSession_TakesItsPresenceWhenItCan(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cfg, _ := b.config(t)
	before := b.Conn(t)
	_, err := before.Exec(b.ctx, "select pg_advisory_lock(1919907152, $1)", presence)
	require.NoError(t, err)
	l := b.run(t, cfg)
	pid := b.armed(t, l)
	require.False(t, l.State().Present, "somebody else holds the lock")
	require.NoError(t, before.Close(b.ctx))
	testdb.Eventually(t, patience, "the presence to be taken", func() (bool, error) { return l.State().Present, nil })
	require.Equal(t, []lock{{pid, "sleeper", true}, {pid, "presence", true}}, b.locks(t), "by the same connection, and S once")
}
