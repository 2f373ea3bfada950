//go:build !unix

package pgserver

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func child(string) int { return 2 }

func TestStartSaysThatTheSystemIsNotSupported(t *testing.T) {
	_, err := Start(t.Context(), Config{})
	require.ErrorIs(t, err, ErrUnsupported)
}
