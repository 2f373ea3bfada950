package partition

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// However many logs a session serves, their heartbeats at rest are 20 a second, and those of all members of a log are 14, up to 168
// of them; of more, each sends one every 12 s, so that a frozen one does not keep its partitions for longer than 30 s. Each heartbeat
// is valid until two and a half more of its kind are due.
func TestLogsAndMembersShareTheHeartbeatsAtRest(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		cfg            ControlConfig
		logs, members  int
		beat, validity time.Duration
	}{
		"one log":            {ControlConfig{}, 1, 1, 2 * time.Second, 5 * time.Second},
		"a few":              {ControlConfig{}, 40, 1, 2 * time.Second, 5 * time.Second},
		"many":               {ControlConfig{}, 200, 1, 10 * time.Second, 25 * time.Second},
		"static":             {ControlConfig{Static: true}, 1, 1, 12 * time.Second, 30 * time.Second},
		"a short lease":      {ControlConfig{TTL: time.Second}, 1, 1, 400 * time.Millisecond, time.Second},
		"a long lease":       {ControlConfig{TTL: time.Minute}, 1, 1, 2 * time.Second, time.Minute},
		"for sleeping":       {ControlConfig{IdleInterval: time.Minute}, 1, 1, time.Minute, 150 * time.Second},
		"of a few":           {ControlConfig{}, 1, 28, 2 * time.Second, 5 * time.Second},
		"of many":            {ControlConfig{}, 1, 56, 4 * time.Second, 10 * time.Second},
		"of very many":       {ControlConfig{}, 1, 168, 12 * time.Second, 30 * time.Second},
		"of too many":        {ControlConfig{}, 1, 500, 12 * time.Second, 30 * time.Second},
		"sleeping, too many": {ControlConfig{IdleInterval: time.Minute}, 1, 5000, time.Minute, 150 * time.Second},
		"static, of many":    {ControlConfig{Static: true}, 1, 140, 12 * time.Second, 30 * time.Second},
		"for sleeping, many": {ControlConfig{IdleInterval: time.Minute}, 2000, 1, 100 * time.Second, 250 * time.Second},
	} {
		if test.cfg.TTL == 0 {
			test.cfg.TTL = DefaultTTL
		}
		test.cfg.Told = func() bool { return true }
		c := NewControl(test.cfg)
		c.members = test.members
		r := c.rhythm(time.Now(), test.logs)
		require.False(t, r.awake, name)
		require.Equal(t, test.beat, r.beat, name)
		require.Equal(t, test.validity, r.validity, name)
		require.GreaterOrEqual(t, r.look, r.beat, "%s: no look beside the heartbeats", name)
	}
}

// Who is told of nothing looks all the time, and its heartbeats are as frequent among many.
func TestNotToldThereIsNoRestToShare(t *testing.T) {
	t.Parallel()
	c := NewControl(ControlConfig{TTL: DefaultTTL})
	c.members = 64
	r := c.rhythm(time.Now(), 1)
	require.False(t, r.awake)
	require.Equal(t, 2*time.Second, r.beat)
	require.Equal(t, DefaultTTL, r.validity)
}

// Awake, a log among many is as quick as one by itself.
func TestLogAwakeIsAsQuickAmongMany(t *testing.T) {
	t.Parallel()
	c := NewControl(ControlConfig{TTL: DefaultTTL, Told: func() bool { return true }})
	c.members = 64
	c.Stir()
	r := c.rhythm(time.Now(), 200)
	require.True(t, r.awake)
	require.True(t, r.roll)
	require.Equal(t, time.Second, r.beat)
	require.Equal(t, DefaultTTL, r.validity)
}
