package reliability_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
)

// soundEvidence is of ten events of a, and of ten of b, the last two of which were never answered and are there. b is in
// partition 1. Positions are 1 to 20, a and b in turn.
func soundEvidence() evidence {
	e := evidence{record: newRecord(), checkpoints: map[int]int64{0: 20, 1: 20}, effects: map[eventstore.ID][]doing{}}
	for version := int64(1); version <= 10; version++ {
		for slot, aggregate := range []string{"a", "b"} {
			position := 2*version - 1 + int64(slot)
			e.log = append(e.log, logged{aggregate, version, position, idOf(aggregate, version), int16(slot)})
			e.handled = append(e.handled, handling{aggregate, version, position})
		}
	}
	e.record.acknowledge("a", 10)
	e.record.acknowledge("b", 8)
	e.record.leaveOpen("b", 10)
	e.effects[idOf("a", 8)], e.effects[idOf("b", 8)] = doings(1), doings(3)
	return e
}

// doings is an effect that a worker has done so often, a minute apart.
func doings(n int) (done []doing) {
	for i := range n {
		done = append(done, doing{"w#1", moment(time.Duration(i) * time.Minute)})
	}
	return done
}

// moment is so long after a beginning that all cases have.
func moment(after time.Duration) time.Time { return time.Unix(1_000_000_000, 0).Add(after) }

// Each fault, one at a time: the verdict names it and nothing else. A soak is worth what its judge is worth.
func TestJudgeNamesEachFault(t *testing.T) {
	t.Parallel()
	sound := verdict{Acknowledged: 18, Open: 2, OpenThere: 2, Repeated: 2}
	harmless := []string{"nothing wrong", "unanswered and not in the log", "handled in another order, of two aggregates",
		"effects done again after a fault of everybody, and of their worker"}
	// remove takes an event out of the log, and what was handled of it, if that is asked for.
	remove := func(e *evidence, position int64, handledToo bool) {
		e.log = slices.DeleteFunc(e.log, func(ev logged) bool { return ev.position == position })
		if handledToo {
			e.handled = slices.DeleteFunc(e.handled, func(did handling) bool { return did.position == position })
		}
	}
	for name, tc := range map[string]struct {
		spoil func(e *evidence)
		want  func(v *verdict)
	}{
		"nothing wrong": {func(*evidence) {}, func(*verdict) {}},
		"acknowledged and not in the log": {
			func(e *evidence) { remove(e, 19, true) },
			func(v *verdict) { v.Missing = 1 }},
		"all of an aggregate gone": {
			func(e *evidence) { e.record.acknowledge("c", 3) },
			func(v *verdict) { v.Acknowledged, v.Missing = 21, 3 }},
		"unanswered and not in the log": {
			func(e *evidence) {
				remove(e, 18, true)
				remove(e, 20, true)
				e.checkpoints = map[int]int64{0: 19, 1: 19}
			},
			func(v *verdict) { v.OpenThere = 0 }},
		"half of an unanswered append": {
			func(e *evidence) { remove(e, 20, true); e.checkpoints = map[int]int64{0: 19, 1: 19} },
			func(v *verdict) { v.OpenThere, v.Strange = 0, 1 }},
		"in the log twice": {
			func(e *evidence) { e.log = append(e.log, logged{"a", 10, 21, idOf("a", 10), 0}) },
			func(v *verdict) { v.Strange = 1 }},
		"under another id": {
			func(e *evidence) { e.log[18].id = idOf("a", 11); e.handled = slices.Delete(e.handled, 18, 19) },
			func(v *verdict) { v.Strange, v.Missing = 1, 1 }},
		"nobody appended it": {
			func(e *evidence) {
				e.log = append(e.log, logged{"x", 1, 21, idOf("x", 1), 0})
				e.handled = append(e.handled, handling{"x", 1, 21})
			},
			func(v *verdict) { v.Strange = 1 }},
		"not handled and passed": {
			func(e *evidence) { e.handled = slices.Delete(e.handled, 4, 5) },
			func(v *verdict) { v.Lost = 1 }},
		"not handled and not passed": {
			func(e *evidence) { e.handled = slices.Delete(e.handled, 19, 20); e.checkpoints[1] = 19 },
			func(v *verdict) { v.Stuck = 1 }},
		"handled twice": {
			func(e *evidence) { e.handled = append(e.handled, e.handled[3]) },
			func(v *verdict) { v.Doubled = 1 }},
		"handled in another order": {
			func(e *evidence) { e.handled[4], e.handled[6] = e.handled[6], e.handled[4] },
			func(v *verdict) { v.OutOfOrder = 1 }},
		"handled in another order, of two aggregates": {
			func(e *evidence) { e.handled[4], e.handled[5] = e.handled[5], e.handled[4] },
			func(*verdict) {}},
		"handled and not in the log": {
			func(e *evidence) { e.handled = append(e.handled, handling{"a", 11, 21}) },
			func(v *verdict) { v.Phantom = 1 }},
		"handled at another position": {
			func(e *evidence) { e.handled[19].position = 21 },
			func(v *verdict) { v.Phantom, v.Lost = 1, 1 }},
		"checkpoint beyond the log": {
			func(e *evidence) { e.checkpoints[1] = 21 },
			func(v *verdict) { v.Beyond = 1 }},
		"miscounted": {
			func(e *evidence) { e.miscounted = 2 },
			func(v *verdict) { v.Miscounted = 2 }},
		"no effect": {
			func(e *evidence) { delete(e.effects, idOf("b", 8)) },
			func(v *verdict) { v.EffectsLost, v.Repeated = 1, 0 }},
		"still set aside": {
			func(e *evidence) { e.parked = 2 },
			func(v *verdict) { v.Parked = 2 }},
		"an innocent event waited for people": {
			func(e *evidence) { e.innocent = 1 },
			func(v *verdict) { v.Innocent = 1 }},
		"effects done again after a fault of everybody, and of their worker": {
			func(e *evidence) {
				e.disturbances = []disturbance{{"", moment(time.Second), moment(2 * time.Second)}, {"w", moment(time.Minute), moment(time.Minute)}}
			},
			func(v *verdict) { v.OldestRepeat = time.Second }},
		"an effect done again after a fault of another worker": {
			func(e *evidence) {
				e.disturbances = []disturbance{{"", moment(time.Second), moment(2 * time.Second)}, {"v", moment(time.Minute), moment(time.Minute)}}
			},
			func(v *verdict) { v.OldestRepeat, v.Unexplained = time.Second, 1 }},
		"effects done again long before and after a fault": {
			func(e *evidence) {
				e.disturbances = []disturbance{{"w", moment(unsaved), moment(time.Minute - unsaved)}}
			},
			func(v *verdict) { v.Unexplained = 2 }},
		"effects in another order": {
			func(e *evidence) {
				for version := int64(11); version <= 16; version++ {
					position := 20 + version - 10
					e.log = append(e.log, logged{"a", version, position, idOf("a", version), 0})
					e.handled = append(e.handled, handling{"a", version, position})
				}
				e.record.acknowledge("a", 16)
				e.checkpoints[0] = 26
				e.effects[idOf("a", 16)] = []doing{{"w#1", moment(-time.Second)}}
			},
			func(v *verdict) { v.Acknowledged, v.EffectsOutOfOrder = 24, 1 }},
		"an effect of no event": {
			func(e *evidence) { e.effects[idOf("a", 16)] = doings(1) },
			func(v *verdict) { v.EffectsPhantom = 1 }},
	} {
		t.Run(name, func(t *testing.T) {
			e := soundEvidence()
			tc.spoil(&e)
			want := sound
			tc.want(&want)
			got := judge(e)
			require.Equal(t, want, got)
			require.Equal(t, slices.Contains(harmless, name), got.sound())
		})
	}
}
