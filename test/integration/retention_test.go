//go:build unix

package integration_test

import (
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// letEventsGo: archives, restores and erasures are the owner's; a worker may not change an event, also not that way, and goes on as ever.
func (o *office) letEventsGo() {
	t := o.t
	t.Helper()
	dir := t.TempDir()
	before := o.must("shop_owner", "archive", "verify", dir)
	for _, args := range [][]string{
		{"prune", "--older-than", "0", "--to", dir, "--yes"}, {"erase", "--aggregate", "thing/good", "--yes"},
	} {
		out, err := o.command("shop_worker", nil, args...).CombinedOutput()
		require.Error(t, err, "%s", out)
		assert.Contains(t, string(out), "the role may not do this: permission denied")
	}
	assert.Equal(t, before, o.must("shop_owner", "archive", "verify", dir), "nothing is left of what was refused")
	assert.Contains(t, o.must("shop_owner", "prune", "--older-than", "0", "--to", dir, "--yes"), "removed ")
	o.must("shop_appender", "append", "--count", "10")
	o.must("shop_worker", "worker", "--once")
	assert.Contains(t, o.must("shop_reader", "status"), "lag 0 events")
	out, err := o.command("shop_worker", nil, "projection", "reset", "--to", "0", "scalable_projection").CombinedOutput()
	require.Error(t, err)
	assert.Contains(t, string(out), "the log lacks events up to position ")
	assert.Contains(t, o.must("shop_owner", "archive", "restore", dir), "put back ")
	o.must("shop_owner", "erase", "--aggregate", "thing/good", "--archives", dir, "--yes")
	o.must("shop_worker", "projection", "reset", "--wait", "0", "--to", "0", "scalable_projection")
	o.must("shop_worker", "worker", "--once")
	o.exact()
}
