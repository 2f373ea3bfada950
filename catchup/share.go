package catchup

import "sync/atomic"

// share divides a number of bytes among those that hold batches at a time. Its methods may be called by many goroutines.
type share struct {
	bytes   int // fixed
	holders atomic.Int32
}

// add adds n to the number of holders.
func (s *share) add(n int32) { s.holders.Add(n) }

// each returns what a batch of one holder may have: at least leastBytes, so that small events come in whole batches.
func (s *share) each() int {
	return min(s.bytes, max(s.of(s.bytes), leastBytes))
}

// of returns the part of n that is one holder's.
func (s *share) of(n int) int { return n / max(int(s.holders.Load()), 1) }
