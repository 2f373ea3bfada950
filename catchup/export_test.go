package catchup

import (
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
