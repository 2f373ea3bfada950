package reliability_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rouse-es/rouse/eventstore"
)

// doing is one time that an effect was done.
type doing struct {
	worker string // label
	at     time.Time
}

// seat is the seat of its worker.
func (d doing) seat() string {
	seat, _, _ := strings.Cut(d.worker, "#")
	return seat
}

// disturbance is a time in which the worker on a seat, or everybody if that is "", may have been unable to save what it had
// done.
type disturbance struct {
	seat     string
	from, to time.Time
}

// unsaved is how old work may be that nobody has saved: an effect saves what it has done about once a second, between two
// events, and the event in between may take as long as its handler may; a half is for a machine that is busy.
const unsaved = time.Second + hostileTimeout + 500*time.Millisecond

// explains reports whether the disturbance may be why a doing had to be repeated.
func (d disturbance) explains(one doing) bool {
	return (d.seat == "" || d.seat == one.seat()) && one.at.After(d.from.Add(-unsaved)) && one.at.Before(d.to.Add(unsaved))
}

// doneOf is what was done for one event, in its order.
func doneOf(effects map[eventstore.ID][]doing, aggregate string, version int64) []doing {
	done := effects[idOf(aggregate, version)]
	slices.SortFunc(done, func(a, b doing) int { return a.at.Compare(b.at) })
	return done
}

// judgeRepeats says which of the doings of one event should have been saved: all that have another one after them, and
// nothing happened to their worker. It says of the others how long before what happened they were done.
func (v *verdict) judgeRepeats(e evidence, done []doing) {
	for _, one := range done[:max(len(done)-1, 0)] {
		explained, age := false, time.Duration(-1)
		for _, d := range e.disturbances {
			if !d.explains(one) {
				continue
			}
			explained = true
			if before := max(d.from.Sub(one.at), 0); !one.at.After(d.to) && (age < 0 || before < age) {
				age = before
			}
		}
		if !explained {
			v.Unexplained++
			e.say("done again without a fault: %v", done)
			continue
		}
		v.OldestRepeat = max(v.OldestRepeat, age)
	}
}

// judgeOrder counts the effects of an aggregate that were done for the first time after one of a later event. A moment of
// one process is compared with that of another, on one machine.
func (v *verdict) judgeOrder(e evidence, aggregate string, versions int64) {
	var latest time.Time
	for version := int64(1); version <= versions; version++ {
		done := doneOf(e.effects, aggregate, version)
		if len(done) == 0 {
			continue
		}
		if done[0].at.Before(latest) {
			v.EffectsOutOfOrder++
			e.say("the effect of version %d of %s after a later one: %v", version, aggregate, done)
		}
		latest = later(latest, done[0].at)
	}
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// entrySize is an id and a time.
const entrySize = len(eventstore.ID{}) + 8

// readEffects reads what the workers have written down, each in a file of its label. A kill may have cut the last one off,
// and then it was not done.
func readEffects(folder string, effects map[eventstore.ID][]doing) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, file := range entries {
		data, err := os.ReadFile(filepath.Join(folder, file.Name()))
		if err != nil {
			return err
		}
		for ; len(data) >= entrySize; data = data[entrySize:] {
			id := eventstore.ID(data[:entrySize-8])
			at := time.Unix(0, int64(binary.LittleEndian.Uint64(data[entrySize-8:entrySize])))
			effects[id] = append(effects[id], doing{file.Name(), at})
		}
	}
	return nil
}
