package reliability_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
)

// trouble is what a handler has with an event. Good is none.
type trouble string

const (
	good       trouble = ""
	slow       trouble = "slow"
	fails      trouble = "an error"
	permanent  trouble = "a permanent error"
	panics     trouble = "a panic"
	strange    trouble = "an error of another database"
	hangs      trouble = "hangs to its limit"
	hangsOn    trouble = "hangs beyond its limit"
	exits      trouble = "ends the process"
	goexit     trouble = "ends its goroutine"
	rollsBack  trouble = "sends rollback"
	serializes trouble = "answers 40001"
	isLocked   trouble = "answers 55P03"
	endsItself trouble = "ends its own session"
	huge       trouble = "huge"
)

// troubles are all of them, with their share in a thousand. What holds a process or ends it is rare, because everybody
// else in that process waits for it too. An effect has no statement that could roll back or answer an SQLSTATE: it meets
// the error of another database instead.
var troubles = []struct {
	name  trouble
	share uint64
	holds bool // events of other aggregates have to wait for the handler, or for another process
}{
	{fails, 300, false},
	{permanent, 40, false},
	{panics, 80, false},
	{strange, 80, false},
	{goexit, 60, false},
	{rollsBack, 40, false},
	{serializes, 80, false},
	{isLocked, 80, false},
	{endsItself, 60, false},
	{huge, 60, false},
	{slow, 91, true},
	{hangs, 10, true},
	{hangsOn, 4, true},
	{exits, 15, true},
}

// What the handlers are told for now, in a file.
const (
	peace   = "peace"   // everything is good
	failing = "failing" // only what holds nobody up is bad
	war     = "war"     // everything is as the seed says
)

// hostility decides which events a handler has trouble with, by the seed and the event alone. What processes have to know
// of each other is in files: what was tried is counted when a process dies of it, and whatever a transaction does.
type hostility struct {
	Seed   uint64
	Folder string
}

// newHostility is of a seed. It begins with peace.
func newHostility(t testing.TB, seed uint64) *hostility {
	t.Helper()
	h := &hostility{Seed: seed, Folder: t.TempDir()}
	require.NoError(t, os.Mkdir(h.path(triesFolder), 0o700))
	require.NoError(t, h.tell(peace))
	return h
}

const (
	triesFolder = "tries" // a file for each handler and event, a byte for each try that was bad
	exitsFile   = "exits" // the worker and the moment of each exit
	orderFile   = "now"   // peace, failing or war
	awayFile    = "away"  // is there while the service of the effect is away, and says how it refuses
)

func (h *hostility) path(names ...string) string {
	return filepath.Join(append([]string{h.Folder}, names...)...)
}

// number is one that belongs to some words, evenly spread.
func (h *hostility) number(words ...string) uint64 {
	sum := fnv.New64a()
	_, _ = sum.Write(binary.LittleEndian.AppendUint64(nil, h.Seed))
	_, _ = sum.Write([]byte(strings.Join(words, "/")))
	n := sum.Sum64() // whose low bits follow from those of the last word
	n ^= n >> 33
	n *= 0xff51afd7ed558ccd
	return n ^ n>>33
}

// hostile reports whether an aggregate has bad events: one in twenty-five. It is false for nobody's hostility.
func (h *hostility) hostile(aggregate string) bool {
	return h != nil && h.number("aggregate", aggregate)%25 == 0
}

// of is the trouble with an event: one in sixteen of the events of a hostile aggregate is bad.
func (h *hostility) of(aggregate string, version int64) trouble {
	if !h.hostile(aggregate) {
		return good
	}
	n := h.number("event", aggregate, fmt.Sprint(version))
	if n%16 != 0 {
		return good
	}
	at := n / 16 % 1000
	for _, t := range troubles {
		if at < t.share {
			return t.name
		}
		at -= t.share
	}
	return good
}

// ends is after how many bad tries an event is good, -1 for never before peace. Those that end a process do so a few times.
func (h *hostility) ends(aggregate string, version int64) int64 {
	n := h.number("end", aggregate, fmt.Sprint(version))
	if n%6 == 0 {
		return -1
	}
	return 1 + int64(n/6%3)
}

// payload is what an appender writes: one to three megabytes for a huge event.
func (h *hostility) payload(aggregate string, version int64) string {
	if h == nil || h.of(aggregate, version) != huge {
		return `{"amount": 1}`
	}
	size := 1<<20 + h.number("size", aggregate, fmt.Sprint(version))%(2<<20)
	return `{"amount": 1, "document": "` + strings.Repeat("x", int(size)) + `"}`
}

// meets is the trouble that a handler has with an event now, and counts the try if it has any. Once an event is good for a
// handler it stays so until its next one.
func (h *hostility) meets(handler string, ev eventstore.Event) trouble {
	t := h.of(ev.AggregateID, ev.AggregateVersion)
	if t == good || t == huge {
		return t
	}
	order, err := os.ReadFile(h.path(orderFile))
	if err != nil || string(order) == peace || string(order) == failing && t.holdsOthers() {
		return good
	}
	name := h.path(triesFolder, fmt.Sprintf("%s.%s.%d", handler, ev.AggregateID, ev.AggregateVersion))
	ends := h.ends(ev.AggregateID, ev.AggregateVersion)
	if was, err := os.Stat(name); ends >= 0 && err == nil && was.Size() >= ends {
		return good
	}
	if err := appendTo(name, []byte{'.'}); err != nil {
		return good
	}
	return t
}

// holdsOthers reports whether events of other aggregates have to wait for it.
func (t trouble) holdsOthers() bool {
	for _, one := range troubles {
		if one.name == t {
			return one.holds
		}
	}
	return false
}

// harmless reports whether an event of that trouble is handled at the first try.
func (t trouble) harmless() bool { return t == good || t == huge || t == slow }

// tell says what the handlers do from now on.
func (h *hostility) tell(order string) error {
	if err := os.WriteFile(h.path("next"), []byte(order), 0o600); err != nil {
		return err
	}
	return os.Rename(h.path("next"), h.path(orderFile)) // at once, for those who read it meanwhile
}

// tried counts the bad tries by their trouble.
func (h *hostility) tried() (map[trouble]int64, error) {
	files, err := os.ReadDir(h.path(triesFolder))
	tried := map[trouble]int64{}
	for _, file := range files {
		info, err := file.Info()
		if err != nil {
			return nil, err
		}
		parts := strings.Split(file.Name(), ".") // the ids of aggregates have no dot
		var version int64
		if _, err := fmt.Sscan(parts[2], &version); err != nil {
			return nil, err
		}
		tried[h.of(parts[1], version)] += info.Size()
	}
	return tried, err
}

// appendTo adds something to a file in one write, which a kill leaves whole or away.
func appendTo(name string, data []byte) error {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Close())
}

// away makes the service of the effect refuse everything, with an error that says that it is not there, or with a plain one.
func (h *hostility) away(says bool) error {
	word := "plainly"
	if says {
		word = saysAway
	}
	return os.WriteFile(h.path(awayFile), []byte(word), 0o600)
}

// saysAway is in awayFile while the effect says that the service is away.
const saysAway = "says so"

// back ends away.
func (h *hostility) back() error {
	if err := os.Remove(h.path(awayFile)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Which events are bad, and how, follows from the seed alone, about as often as it is said, and some of each stay bad.
func TestHostilityIsTheSeedsAlone(t *testing.T) {
	t.Parallel()
	h, same, other := newHostility(t, 7), newHostility(t, 7), newHostility(t, 8)
	count, forever, hostile, differs := map[trouble]int{}, map[trouble]int{}, 0, false
	const aggregates, versions = 5000, 1000
	for a := range aggregates {
		id := fmt.Sprintf("a%d-%d", a%8, a)
		if !h.hostile(id) {
			require.Equal(t, good, h.of(id, 1))
			continue
		}
		hostile++
		for v := range int64(versions) {
			one := h.of(id, v)
			require.Equal(t, one, same.of(id, v))
			differs = differs || one != other.of(id, v)
			count[one]++
			if h.ends(id, v) < 0 {
				forever[one]++
			}
		}
	}
	require.True(t, differs)
	require.InDelta(t, aggregates/25, hostile, aggregates/100)
	require.Len(t, count, len(troubles)+1)
	bad := hostile*versions - count[good]
	require.InDelta(t, hostile*versions/16, bad, float64(bad)/10)
	for _, one := range troubles {
		require.InDelta(t, float64(one.share)/1000, float64(count[one.name])/float64(bad), 0.02, one.name)
		require.Positive(t, forever[one.name], one.name)
	}
}
