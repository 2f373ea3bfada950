package reliability_test

import (
	"crypto/sha256"
	"fmt"
	"sync"

	"github.com/rouse-es/rouse/eventstore"
)

// record is what the appenders know about the log by themselves. It is kept here and not in the database under test. An
// aggregate has one appender, who appends version after version, so a number says which versions there are.
type record struct {
	mu       sync.Mutex       // protects following fields
	acked    map[string]int64 // the last version of each aggregate whose commit was acknowledged
	open     map[string]int64 // the last version that an append was to reach whose commit was not answered and never will be
	events   int64            // acknowledged
	failures map[string]int   // why appends failed, and how often
}

func newRecord() *record {
	return &record{acked: map[string]int64{}, open: map[string]int64{}, failures: map[string]int{}}
}

// acknowledge notes that the events of an aggregate up to version are in the log.
func (r *record) acknowledge(aggregate string, version int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events += version - r.acked[aggregate]
	r.acked[aggregate] = version
}

// leaveOpen notes that an append up to version may be in the log or not: all of it or nothing. The aggregate gets no more.
func (r *record) leaveOpen(aggregate string, version int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open[aggregate] = version
}

func (r *record) failed(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures[why]++
}

// total is how many events were acknowledged.
func (r *record) total() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events
}

// idOf is the id of the event that is version of aggregate: the appenders choose them, so a second attempt has the same one.
func idOf(aggregate string, version int64) eventstore.ID {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", aggregate, version))
	return eventstore.ID(sum[:16])
}

// typeOf is its type: one in eight is billed.
func typeOf(version int64) string {
	if version%8 == 0 {
		return billed
	}
	return noted
}
