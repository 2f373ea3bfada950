package listener_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/listener"
)

// sharedProbes is the channel on which one process probes for all.
const sharedProbes = "rouse_probes"

// often makes a listener probe many times in a test.
const often = 20 * time.Millisecond

// together runs so many listeners as processes of their own, which probe often, and waits until they sleep. probes listens to all
// of their probes.
func (b *testBundle) together(t *testing.T, n int) (all []*running, cuts []*wires, probes *ears) {
	t.Helper()
	channels := []string{sharedProbes}
	for range n {
		cfg, cut := b.config(t)
		cfg.ProbeInterval = often
		l := b.run(t, cfg)
		testdb.Eventually(t, patience, "it to sleep", l.quiet)
		all, cuts = append(all, l), append(cuts, cut)
		channels = append(channels, "rouse_probe_"+strings.ReplaceAll(cfg.Instance, "-", ""))
	}
	return all, cuts, b.listen(t, channels...)
}

// leader waits until so many probes in a row are shared ones of one process, and returns its instance.
func (e *ears) leader(t *testing.T, probes int, but string) (leader string) {
	t.Helper()
	testdb.Eventually(t, patience, "one process that probes for all", func() (bool, error) {
		leader = ""
		for range probes {
			n, err := e.next()
			if err != nil {
				return false, err
			}
			sender, _, _ := strings.Cut(n.payload, "/")
			if n.channel != sharedProbes || sender == but || leader != "" && sender != leader {
				return false, nil
			}
			leader = sender
		}
		return true, nil
	})
	return leader
}

// notice is one notification.
type notice struct{ channel, payload string }

// next waits for a notification.
func (e *ears) next() (notice, error) {
	n, err := e.conn.WaitForNotification(e.b.ctx)
	if err != nil {
		return notice{}, err
	}
	return notice{n.Channel, n.Payload}, nil
}

// One process probes, and the others are proven by what they hear of it. When it is gone another one goes on.
func TestTogether_OneProbesForAll(t *testing.T) {
	t.Parallel()
	b := setup(t)
	all, _, probes := b.together(t, 3)
	var leader string
	testdb.Eventually(t, patience, "one that goes on", func() (bool, error) { // another one leads where a machine stands still for long
		leader = probes.leader(t, 10, "")
		var proven []time.Time
		for _, l := range all {
			proven = append(proven, l.ProvenAt())
		}
		goesOn := probes.leader(t, 3, "") == leader
		for i, l := range all {
			testdb.Eventually(t, patience, "another proof", func() (bool, error) { return l.ProvenAt().After(proven[i]) && l.State().Proven, nil })
		}
		return goesOn, nil
	})
	for _, l := range all {
		if l.cfg.Instance == leader {
			l.stop()
		}
	}
	require.NotEqual(t, leader, probes.leader(t, 10, leader))
}

// Who does not hear the others probes by itself, and finds that it hears nothing.
func TestTogether_TheDeafNoticesIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	all, cuts, probes := b.together(t, 3)
	disturbed := true
	for try := 0; try < 5 && disturbed; try++ { // a machine that stands still makes others deaf, too, and then there is another try
		leader := probes.leader(t, 10, "")
		leads := slices.IndexFunc(all, func(l *running) bool { return l.cfg.Instance == leader })
		deaf, other := all[(leads+1)%len(all)], cuts[(leads+1)%len(all)]
		was, before := deaf.saw(listener.Deaf), all[leads].saw(listener.Deaf)
		other.setMute(true)
		testdb.Eventually(t, patience, "it to notice", func() (bool, error) { return deaf.saw(listener.Deaf) > was, nil })
		other.setMute(false)
		testdb.Eventually(t, patience, "it to sleep again", deaf.quiet)
		disturbed = all[leads].saw(listener.Deaf) > before
	}
	require.False(t, disturbed, "who hears is not disturbed")
}

// Through a pooler one may hear what another of its clients listens to, so what others send is no first proof, and nobody
// listens to it before there is one.
func TestTogether_OthersAreNoFirstProof(t *testing.T) {
	t.Parallel()
	b := setup(t)
	cfg, cut := b.config(t)
	cut.setMute(true)
	l := b.run(t, cfg)
	testdb.Eventually(t, patience, "a probe that gets lost", func() (bool, error) { return cut.losses() > 0, nil })
	_, err := b.Pool.Exec(b.ctx, "select pg_notify($1, $2)", sharedProbes, "another/1")
	require.NoError(t, err)
	testdb.Eventually(t, patience, "it to be deaf", func() (bool, error) { return l.saw(listener.Deaf) > 0, nil })
	require.False(t, l.State().Proven)
	require.Zero(t, cut.notifications(sharedProbes))
}
