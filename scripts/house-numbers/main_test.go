package main

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Everything that is counted in the source can be counted in this checkout. The frames need a PostgreSQL and a build.
func TestCountsThisCheckout(t *testing.T) {
	*withFrames = false
	here, err := read("../..")
	require.NoError(t, err)
	for _, row := range rows {
		cell := row.count(here)
		require.NotContains(t, cell, "?", row.name)
		require.NotEmpty(t, cell, row.name)
	}
	require.NoError(t, here.err)
	_, err = read(t.TempDir())
	require.Error(t, err, "no checkout")
}
