//go:build !rousefault

package rouse

import (
	"context"

	"github.com/rouse-es/rouse/partition"
)

// clientFenced is a fault, which no ordinary build has; see internal/knownbad. The functions below are places of others.
const clientFenced = false

// idleAhead does nothing, nor does what it returns.
func (*session) idleAhead(context.Context) (end func()) { return func() {} }

// kept are the leases as they were claimed.
func (*session) kept(leases []partition.Lease) []partition.Lease { return leases }
