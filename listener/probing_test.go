package listener_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// oneTry is the push trigger's function in the form that takes another append for a sleeper.
const oneTry = `
  if (case when pg_try_advisory_lock(1919907155, k) then not pg_advisory_unlock(1919907155, k) else true end) then
    perform pg_notify('rouse_' || tg_relid, '');
  end if;`

// An append that was stopped while it asked whether a process sleeps, which happens where processors are few, must not make all
// others notify: that would throttle writers in a torrent and wake every process.
func TestAppendsDoNotTakeEachOtherForASleeper(t *testing.T) {
	t.Parallel()
	b := setup(t)
	e := b.listen(t, wakeChannel(b.log.Events))
	other := b.Conn(t)
	_, err := other.Exec(b.ctx, "select pg_advisory_lock(1919907155, $1)", int32(b.log.Events))
	require.NoError(t, err)
	b.append(t)
	require.Empty(t, e.heard(t), "while another append holds S alone nobody sleeps")
	require.Len(t, b.locks(t), 1, "the append has let go of what it tried")

	b.replacePush(t, oneTry)
	b.append(t)
	require.Len(t, e.heard(t), 1, "the naive form notifies for nobody")
}

// Whoever shares S sleeps, however many there are.
func TestAppendsWakeSleepers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	e := b.listen(t, wakeChannel(b.log.Events))
	for n := range 2 {
		b.listen(t).sleep(t, b.log.Events)
		b.append(t)
		require.Len(t, e.heard(t), 1)
		require.Len(t, b.sleepers(t), n+1, "the append has let go of what it tried")
	}
}
