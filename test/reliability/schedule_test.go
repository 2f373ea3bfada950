package reliability_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// kind is a sort of fault: how often it comes, how long it lasts, and how to make it.
type kind struct {
	name      string
	perMinute float64
	shortest  time.Duration
	longest   time.Duration
	target    target
	make      func(a *arena, e entry) fault
}

// target is what a fault breaks. Nothing is broken by two of them at once.
type target int

const (
	servers  target = iota // everybody is affected; a recovery counts from the end of the fault
	sessions               // everybody is affected; a recovery counts from the beginning
	workers                // one is affected, and what it owns; a recovery counts from the beginning
	networks               // the same; or the way of half of the appenders is broken, which is no matter of recovery
	services               // the service of the effect, which nobody has to recover from
	shares                 // nothing is broken: operators change the number of partitions
)

// leaves is the name of the fault that a worker can do everything about.
const leaves = "worker SIGTERM"

// kinds are all faults. At this rate, twenty-five minutes hold a thousand kills of workers, a thousand terminated sessions,
// two hundred freezes, two hundred faults of the network and fifty kills of the server.
var kinds = []kind{
	{"worker kill -9", 52, 0, 400 * time.Millisecond, workers, func(a *arena, e entry) fault { return a.seats[e.seat].kill() }},
	{leaves, 6, 0, 400 * time.Millisecond, workers, func(a *arena, e entry) fault { return a.seats[e.seat].leave() }},
	{"worker frozen", 12, leaseTTL + 200*time.Millisecond, 2 * leaseTTL, workers, func(a *arena, e entry) fault { return a.seats[e.seat].freeze() }},
	{"session terminated", 52, 0, 0, sessions, func(a *arena, e entry) fault {
		return terminate("session terminated", a.db, "terminate_any", e.number, ownName)
	}},
	{"listeners terminated", 6, 0, 0, sessions, func(a *arena, _ entry) fault {
		return terminate("listeners terminated", a.db, "terminate_listeners")
	}},
	{"server kill -9", 2.4, 0, 500 * time.Millisecond, servers, func(a *arena, _ entry) fault { return killServer(a.machine) }},
	{"server immediate stop", 1, 0, 500 * time.Millisecond, servers, func(a *arena, _ entry) fault { return crashServer(a.machine) }},
	{"server restart", 1, 0, 500 * time.Millisecond, servers, func(a *arena, _ entry) fault { return restartServer(a.machine) }},
	{"server frozen", 1, 500 * time.Millisecond, 1500 * time.Millisecond, servers, func(a *arena, _ entry) fault { return pauseServer(a.machine) }},
	{"network slow", 3, time.Second, 3 * time.Second, networks, func(a *arena, e entry) fault { return a.gate(e).slow() }},
	{"network resets", 3, 500 * time.Millisecond, 1500 * time.Millisecond, networks, func(a *arena, e entry) fault { return a.gate(e).reset() }},
	{"network half-open", 3, 1500 * time.Millisecond, 3 * time.Second, networks, func(a *arena, e entry) fault { return a.gate(e).halfOpen() }},
	{"network loses requests", 1.5, 1500 * time.Millisecond, 3 * time.Second, networks, func(a *arena, e entry) fault { return a.gate(e).oneWay(up) }},
	{"network loses answers", 1.5, 1500 * time.Millisecond, 3 * time.Second, networks, func(a *arena, e entry) fault { return a.gate(e).oneWay(down) }},
}

// hostileKinds are those of a soak with hostile handlers besides.
var hostileKinds = append(slices.Clone(kinds),
	kind{"service away", 4, time.Second, 4 * time.Second, services, func(a *arena, e entry) fault { return a.serviceAway(e.number%2 == 0) }},
	kind{"resize", 3, 0, 0, shares, func(a *arena, e entry) fault { return a.resize([]int{8, 16, 32}[e.number%3]) }},
)

// entry is one fault of a schedule.
type entry struct {
	kind   kind
	at     time.Duration // after the beginning
	lasts  time.Duration
	seat   int    // of the worker that it is for; -1: the door of the appenders
	number uint64 // a number to choose by
}

// noSeat is the door of the appenders.
const noSeat = -1

func (e entry) String() string {
	return fmt.Sprintf("%v %s %v seat %d number %d", e.at, e.kind.name, e.lasts, e.seat, e.number)
}

// newSchedule makes the schedule of a seed and a form, with each kind at least once. The same arguments make the same
// schedule.
func newSchedule(seed uint64, f form) []entry {
	var all []entry
	for i, k := range f.kinds() {
		rng := rand.New(rand.NewPCG(seed, uint64(i)|1<<32)) // of its own, so that a change of one kind moves no other
		every := time.Duration(float64(time.Minute) / k.perMinute / f.pace)
		at := time.Duration(rng.Float64() * float64(min(every, f.duration)))
		for at < f.duration {
			e := entry{kind: k, at: at, lasts: k.shortest, seat: rng.IntN(f.seats), number: rng.Uint64N(1 << 31)}
			if k.longest > k.shortest {
				e.lasts += time.Duration(rng.Int64N(int64(k.longest - k.shortest)))
			}
			if k.target == networks && rng.IntN(4) == 0 {
				e.seat = noSeat
			}
			all = append(all, e)
			at += time.Duration((0.5 + rng.Float64()) * float64(every))
		}
	}
	slices.SortStableFunc(all, func(a, b entry) int { return int(a.at - b.at) })
	return all
}

func TestScheduleIsTheSeedsAlone(t *testing.T) {
	t.Parallel()
	text := func(seed uint64) (lines []string) {
		for _, e := range newSchedule(seed, form{duration: time.Minute, pace: 1, seats: 6, hostile: true}) {
			lines = append(lines, e.String())
		}
		return lines
	}
	require.Equal(t, text(7), text(7))
	require.NotEqual(t, text(7), text(8))
}

func TestScheduleHasEachKindOfFault(t *testing.T) {
	t.Parallel()
	for _, f := range []form{shortForm, shortHostileForm} {
		for seed := range uint64(200) {
			count := map[string]int{}
			for _, e := range newSchedule(seed, f) {
				require.Less(t, e.at, f.duration)
				count[e.kind.name]++
			}
			require.Len(t, count, len(f.kinds()), "seed %d", seed)
		}
	}
}

// What `make soak` is to reach in sum is reached in twenty-five minutes.
func TestScheduleReachesTheSums(t *testing.T) {
	t.Parallel()
	count, faults := map[string]int{}, 0
	f := longForm
	f.duration = 25 * time.Minute
	for _, e := range newSchedule(1, f) {
		count[e.kind.name]++
		if e.kind.target == networks {
			faults++
		}
	}
	require.Greater(t, count["worker kill -9"], 1000)
	require.Greater(t, count["worker frozen"], 200)
	require.Greater(t, count["session terminated"], 1000)
	require.Greater(t, count["server kill -9"], 50)
	require.Greater(t, faults, 200)
}
