package catchup

import "time"

// Patient returns a function that makes readers share their patience, as those of one Source do, with less time for the first
// read.
func Patient(first time.Duration) func(*Reader) {
	shared := &patience{first: first}
	return func(r *Reader) { r.patience = shared }
}
