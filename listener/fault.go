//go:build !rousefault

package listener

// The faults, which no ordinary build has; see internal/knownbad.
const (
	unsettled = false
	unprobed  = false
)
