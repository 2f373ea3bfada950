package catchup

import (
	"context"
	"time"

	"github.com/rouse-es/rouse/listener"
)

// Patient returns a function that makes readers share their patience, as those of one Source do, with less time for the first
// read.
func Patient(first time.Duration) func(*Reader) {
	shared := &patience{first: first}
	return func(r *Reader) { r.patience = shared }
}

// InTorrent makes s read as in a torrent.
func InTorrent(s *Source) {
	s.state = func() listener.State { return listener.State{Mode: listener.Torrent} }
}

// TooSlow has a read of a feed of s that reads alone end as one that did not come in its time.
func TooSlow(ctx context.Context, s *Source) {
	_ = s.patience.note(ctx, errCutOff, true)
}

// Smaller returns by how many steps the reads of such feeds are smaller for that.
func Smaller(s *Source) int { return s.patience.steps() }

// LikeAFeedOf makes r read with the patience of such feeds.
func LikeAFeedOf(s *Source, r *Reader) { r.patience = &s.patience }
