// Package randid makes every identifier of the product that must not meet another one: ids of events and workers, keys of
// locks, names of temporary things. All of them are safe for concurrent use.
package randid

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// UUID returns a new UUID of version 7: time first, to a quarter of a microsecond, so that an index over such ids grows at
// its end, then 62 random bits. eventstore.NewID gives it the type of an event's id.
func UUID() [16]byte {
	var id [16]byte
	fill(id[8:])
	now := time.Now()
	binary.BigEndian.PutUint64(id[:8], uint64(now.UnixMilli())<<16)
	const nanosPerMilli = uint64(time.Millisecond)
	fraction := uint64(now.Nanosecond()) % nanosPerMilli * 4096 / nanosPerMilli // 12 bits below the millisecond
	binary.BigEndian.PutUint16(id[6:8], 0x7000|uint16(fraction))
	id[8] = id[8]&0x3f | 0x80
	return id
}

// Key returns a new key from 1 to 2147483647 for an advisory lock. It is never 0, which stands for no key.
func Key() int32 {
	return int32(binary.BigEndian.Uint32(Bytes(4))&0x7ffffffe) + 1
}

// Hex returns n random bytes as 2n lower-case hexadecimal digits.
func Hex(n int) string {
	return hex.EncodeToString(Bytes(n))
}

// Bytes returns n random bytes.
func Bytes(n int) []byte {
	b := make([]byte, n)
	fill(b)
	return b
}

// fill never fails: the program ends if the system has no randomness.
func fill(b []byte) { _, _ = rand.Read(b) }
