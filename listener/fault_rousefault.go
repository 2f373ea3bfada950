//go:build rousefault

package listener

import "github.com/rouse-es/rouse/internal/knownbad"

var (
	unsettled = knownbad.Unsettled
	unprobed  = knownbad.Unprobed
)
