package await

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What is built beside a projection is asked by nobody, and its sessions do with that what they do with any other.
func TestNobodyIsAskedByNilAsked(t *testing.T) {
	t.Parallel()
	var a *Asked
	a.Settle(7)
	a.Forget()
	require.Nil(t, a.C())
	require.False(t, a.Wanted())
	require.False(t, a.Replying())
}
