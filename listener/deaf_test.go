package listener_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/listener"
)

// A connection that looks alive and over which nothing comes any more.
func TestDeaf_AHalfOpenConnectionIsReplaced(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cfg, wires := b.config(t)
	l := b.run(t, cfg)
	woken, leave := l.Subscribe()
	defer leave()
	old := b.armed(t, l)

	wires.silence()
	since := time.Now()
	testdb.Eventually(t, patience, "the listener to notice", func() (bool, error) { return l.saw(listener.Deaf) > 0, nil })
	t.Logf("noticed after %v", time.Since(since).Round(time.Millisecond))
	var pid int32
	testdb.Eventually(t, patience, "the listener to be back", func() (bool, error) {
		for _, p := range b.sleepers(t) { // the server has not missed the old one yet
			if p != old {
				pid = p
			}
		}
		return pid != 0 && l.State().Mode == listener.Quiet, nil
	})
	require.True(t, l.State().Proven)
	said := l.log.messages(zerolog.WarnLevel)
	require.NotEmpty(t, said)
	require.LessOrEqual(t, len(said), l.saw(listener.Deaf), "it is said once, each time")

	before := l.State().LastWake
	b.append(t)
	testdb.Eventually(t, patience, "a wake", func() (bool, error) { return l.State().LastWake.After(before), nil })
	receive(t, woken)

	wires.mu.Lock()
	first := wires.all[0]
	wires.mu.Unlock()
	require.NoError(t, first.Conn.Close())
	testdb.Eventually(t, patience, "the server to miss the old one", func() (bool, error) {
		return slices.Equal(b.locks(t), []lock{{pid, "sleeper", true}, {pid, "presence", true}}), nil
	})
}

// Through a transaction pooler LISTEN succeeds and delivers nothing, and a lock that was taken there would stay on a
// connection that others use.
func TestDeaf_NothingIsLockedBeforeAProbeHasArrived(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cfg, wires := b.config(t)
	wires.setMute(true)
	l := b.run(t, cfg)
	const tries = 3
	testdb.Eventually(t, patience, "some connections that did not deliver", func() (bool, error) {
		require.Empty(t, b.locks(t))
		require.False(t, l.State().Proven)
		require.False(t, l.State().Present)
		require.NotEqual(t, listener.Quiet, l.State().Mode)
		return wires.connections() > tries, nil
	})
	require.GreaterOrEqual(t, wires.losses(), tries, "each of them was given a chance")
	require.Equal(t, listener.Deaf, l.State().Mode)
	warnings := l.log.messages(zerolog.WarnLevel)
	require.Len(t, warnings, 1, "it is said once")
	require.True(t, strings.Contains(warnings[0], "ROUSE_LISTEN_URL"), "and what to do: %s", warnings[0])

	wires.setMute(false)
	b.armed(t, l)
	require.True(t, l.State().Proven)
}

// A connection that ends while a probe is under way takes the probe with it. The next connection is not to blame.
func TestDeaf_AProbeIsAboutOneConnection(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cfg, wires := b.config(t)
	wires.setMute(true)
	l := b.run(t, cfg)
	testdb.Eventually(t, patience, "a probe to get lost", func() (bool, error) { return wires.losses() > 0, nil })
	wires.setMute(false)
	wires.cut()
	b.armed(t, l)
	require.Equal(t, 2, wires.connections(), "the second connection is sound and is kept")
}

// A connection that is sound is probed again and again, and kept. One that a machine which stands still keeps from answering is not
// sound, and then there is another try.
func TestDeaf_ASoundConnectionIsKept(t *testing.T) {
	t.Parallel()
	for range 10 {
		answered := true
		t.Run("try", func(t *testing.T) {
			b := setup(t)
			cfg, wires := b.config(t)
			l := b.run(t, cfg)
			pid := b.armed(t, l)
			for range 20 {
				began := time.Now()
				l.probe(t)
				answered = answered && time.Since(began) < listener.ProbeTimeout/2
			}
			if !answered {
				return
			}
			require.Equal(t, pid, b.armed(t, l), "S is held once, by the same session")
			require.Equal(t, 1, l.saw(listener.Quiet))
			require.Equal(t, 1, wires.connections())
			require.True(t, l.State().Proven)
			require.Empty(t, l.log.messages(zerolog.WarnLevel))
		})
		if answered {
			return
		}
	}
	t.Fatal("no try in which all probes were answered in half their time")
}
