package await

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strings"
)

// channel returns the name of a channel of a log.
func channel(events uint32, what string) string { return fmt.Sprintf("rouse_%d_%s", events, what) }

// Key returns what names a projection in a notification, which has room for 8000 bytes: a hash of its name, of one length.
func Key(projection string) string {
	sum := sha256.Sum256([]byte(projection))
	return hex.EncodeToString(sum[:8])
}

// Partitions is a set of partitions, a bit for each.
type Partitions [16]uint64

// Add puts a partition in.
func (p *Partitions) Add(partition int) { p[partition/64] |= 1 << (partition % 64) }

// has reports whether a partition is in p.
func (p *Partitions) has(partition int) bool { return p[partition/64]&(1<<(partition%64)) != 0 }

// remove takes those of other out, and reports whether there were any.
func (p *Partitions) remove(other *Partitions) (any bool) {
	for i := range p {
		any = any || p[i]&other[i] != 0
		p[i] &^= other[i]
	}
	return any
}

// empty reports whether there is none.
func (p *Partitions) empty() bool { return *p == Partitions{} }

// first returns the lowest, -1 if there is none.
func (p *Partitions) first() int {
	for i, word := range p {
		if word != 0 {
			return 64*i + bits.TrailingZeros64(word)
		}
	}
	return -1
}

// String returns p in hexadecimal, without the words behind the last one that is not 0.
func (p *Partitions) String() string {
	var b strings.Builder
	last := len(p)
	for ; last > 1 && p[last-1] == 0; last-- {
	}
	for i, word := range p[:last] {
		if i > 0 {
			b.WriteByte('.')
		}
		fmt.Fprintf(&b, "%x", word)
	}
	return b.String()
}

// parsePartitions is the reverse of String.
func parsePartitions(text string) (p Partitions, err error) {
	words := strings.Split(text, ".")
	if len(words) > len(p) {
		return p, errPayload
	}
	for i, word := range words {
		if _, err := fmt.Sscanf(word, "%x", &p[i]); err != nil {
			return p, errPayload
		}
	}
	return p, nil
}

// errPayload means that a notification is none of ours.
var errPayload = errors.New("await: the notification is neither an ask nor a reply")

// ask is what a waiter wants of the workers of a projection: that they reply from now on, and that they do so once the positions up to
// To are handled in all partitions that they own.
type ask struct {
	key string

	// from is the first position that matters, above everything else: a reply of a worker that had begun to reply after it needs a look,
	// for which the checkpoints have to be saved. math.MaxInt64: no reply needs one.
	from, to int64

	// save asks for saved checkpoints in any case, because the waiter hears no replies.
	save bool
}

func (a ask) String() string {
	save := 0
	if a.save {
		save = 1
	}
	return fmt.Sprintf("%s %d %d %d", a.key, a.from, a.to, save)
}

func parseAsk(text string) (a ask, err error) {
	var save int
	if n, err := fmt.Sscanf(text, "%16s %d %d %d", &a.key, &a.from, &a.to, &save); err != nil || n != 4 {
		return a, errPayload
	}
	a.save = save == 1
	return a, nil
}

// reply is what a worker says of a projection.
type reply struct {
	key string

	// since is the position from which on the worker has replied to everything that it has done in these partitions.
	since int64

	// to is the position up to which everything is handled in partitions, but for what was set aside.
	to int64

	// look means that something was set aside, or taken out of a queue, or that it is time to look for another reason. bare means that
	// no save holds the checkpoints where they are, so that an operator may have moved them back since.
	look, bare bool

	total      int // partitions of the projection
	partitions Partitions
}

func (r reply) String() string {
	kind := plainReply
	switch {
	case r.look:
		kind = lookReply
	case r.bare:
		kind = bareReply
	}
	return fmt.Sprintf("%s %d %d %d %d %s", r.key, r.since, r.to, kind, r.total, r.partitions.String())
}

func parseReply(text string) (r reply, err error) {
	var kind int
	var partitions string
	if n, err := fmt.Sscanf(text, "%16s %d %d %d %d %s", &r.key, &r.since, &r.to, &kind, &r.total, &partitions); err != nil || n != 6 {
		return r, errPayload
	}
	if r.total < 0 || r.total > 64*len(r.partitions) {
		return r, errPayload
	}
	r.look, r.bare = kind == lookReply, kind == bareReply
	r.partitions, err = parsePartitions(partitions)
	return r, err
}

// The kinds of replies.
const (
	plainReply = iota
	lookReply
	bareReply
)

// everything is the first position of an ask for which any reply will do.
const everything = math.MaxInt64
