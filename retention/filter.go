package retention

import (
	"crypto/sha256"
	"encoding/binary"
)

// filterBits is how many bits of a filter there are for each stream, and filterProbes how many of them a stream sets: of the streams that
// are not in an archive, one in 120 seems to be (0.6185^10).
const (
	filterBits   = 10
	filterProbes = 7
)

// filter says of a stream that it may be in an archive, or is not: a Bloom filter, of 1.2 MB for a million streams.
type filter []byte

func newFilter(streams map[[sha256.Size]byte]struct{}) filter {
	f := make(filter, len(streams)*filterBits/8+8)
	for stream := range streams {
		f.each(stream, func(octet, bit int) bool { f[octet] |= 1 << bit; return true })
	}
	return f
}

// may reports whether a stream may be in the archive.
func (f filter) may(stream [sha256.Size]byte) bool {
	is := true
	f.each(stream, func(octet, bit int) bool { is = f[octet]&(1<<bit) != 0; return is })
	return is
}

// each calls do with the bits of a stream until it returns false.
func (f filter) each(stream [sha256.Size]byte, do func(octet, bit int) bool) {
	if len(f) == 0 {
		return
	}
	a, b := binary.LittleEndian.Uint64(stream[:8]), binary.LittleEndian.Uint64(stream[8:16])|1
	for i := range uint64(filterProbes) {
		n := (a + i*b) % uint64(len(f)*8)
		if !do(int(n/8), int(n%8)) {
			return
		}
	}
}
