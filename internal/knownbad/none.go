//go:build !rousefault

package knownbad

// Built tells whether this build has faults to turn on.
const Built = false
