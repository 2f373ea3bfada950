package reliability_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// hostileRun is what a soak with hostile handlers adds to docs/reliability/hostile.jsonl, a line each.
type hostileRun struct {
	Date       string `json:"date"`
	Version    string `json:"version"`
	Postgres   int    `json:"postgres"`
	Seed       uint64 `json:"seed"`
	Seconds    int    `json:"seconds"`
	Events     int64  `json:"events"` // acknowledged
	Lost       int64  `json:"lost"`   // events and effects, from the log or from the read model
	Doubled    int64  `json:"doubled"`
	OutOfOrder int64  `json:"out_of_order"` // events and effects
	Stuck      int64  `json:"stuck"`        // those that are set aside too
	Innocent   int64  `json:"innocent"`
	Other      int64  `json:"other"` // everything else that the judge found

	Repeated     int64              `json:"effects_repeated"`
	Unexplained  int64              `json:"effects_repeated_without_a_fault"`
	OldestRepeat int64              `json:"effects_repeated_oldest_ms"`
	Faults       map[string]int     `json:"faults"`
	Tries        map[trouble]int64  `json:"bad_tries"`
	Latencies    map[string]latency `json:"latencies"` // by arm
}

// summarizeHostile is the run of an outcome, its verdict, its bad tries and its latencies.
func summarizeHostile(a *arena, o outcome, v verdict, tries map[trouble]int64, took map[string]latency) hostileRun {
	return hostileRun{
		Date: time.Now().UTC().Format(time.DateOnly), Version: *versionFlag, Postgres: a.machine.Major(), Seed: a.seed,
		Seconds: int(o.took.Seconds()), Events: v.Acknowledged,
		Lost: v.Missing + v.Lost + v.EffectsLost, Doubled: v.Doubled, OutOfOrder: v.OutOfOrder + v.EffectsOutOfOrder,
		Stuck: v.Stuck + v.Parked + int64(o.unrecovered), Innocent: v.Innocent,
		Other:    v.Strange + v.Phantom + v.Beyond + v.Miscounted + v.EffectsPhantom,
		Repeated: v.Repeated, Unexplained: v.Unexplained, OldestRepeat: v.OldestRepeat.Milliseconds(),
		Faults: o.count, Tries: tries, Latencies: took,
	}
}

func (r hostileRun) faults() (n int64) {
	for _, times := range r.Faults {
		n += int64(times)
	}
	return n
}

func (r hostileRun) verdict() string {
	if r.Lost+r.Doubled+r.OutOfOrder+r.Stuck+r.Innocent+r.Other+r.Unexplained == 0 {
		return "sound"
	}
	return fmt.Sprintf("lost %d, doubled %d, out of order %d, stuck %d, waiting for nothing %d, effects again without a fault %d, else %d",
		r.Lost, r.Doubled, r.OutOfOrder, r.Stuck, r.Innocent, r.Unexplained, r.Other)
}

// add adds another run up. Latencies are of one run each.
func (r *hostileRun) add(other hostileRun) {
	r.Seconds += other.Seconds
	r.Events += other.Events
	r.Lost += other.Lost
	r.Doubled += other.Doubled
	r.OutOfOrder += other.OutOfOrder
	r.Stuck += other.Stuck
	r.Innocent += other.Innocent
	r.Other += other.Other
	r.Repeated += other.Repeated
	r.Unexplained += other.Unexplained
	r.OldestRepeat = max(r.OldestRepeat, other.OldestRepeat)
	for name, n := range other.Faults {
		r.Faults[name] += n
	}
	for name, n := range other.Tries {
		r.Tries[name] += n
	}
}

// hostileText says what the numbers mean.
const hostileText = "`make soak HOSTILE=1`" + ` makes them: the faults above, fewer of them, the service of the effect that goes away and comes back, and the
number of partitions that changes, on handlers that have trouble with one in sixteen of the events of one in twenty-five
aggregates. What the trouble is follows from the seed; most of it ends after one to three tries, and one in six bad events
stays bad until there is peace at the end. Then everything that was set aside is retried.

- *Stuck* includes what is still set aside two minutes after there is peace. *Waiting for nothing* are events that waited for
  people at the end and that no handler had trouble with.
- *Effects done again* are explained by a fault of their worker or of everybody, a short time after they were done, or *without a
  fault*. *Oldest* is how long before the fault the oldest of the former was done: an effect saves what it has done about once a
  second; up to version 3a7b0d09a191 between two calls only, of which each may take up to its limit of 2 s here.
- *Latency* is that of the events of the other aggregates, from the commit of their append to the commit of their handling, at 300 events per second
  and before the faults begin. Three arms take turns in each run: *calm*, in which nobody appends to the hostile aggregates, *failing*,
  in which handlers fail in every way that ends by itself at once, and *at war*, in which they are slow, hang and end processes too.

`

// hostileSection is what the page says of the runs.
func hostileSection(runs []hostileRun) string {
	var b strings.Builder
	sum := hostileRun{Faults: map[string]int{}, Tries: map[trouble]int64{}}
	for _, r := range runs {
		sum.add(r)
	}
	plural := "s"
	if len(runs) == 1 {
		plural = ""
	}
	fmt.Fprintf(&b, "%s events in %d run%s, of %s seconds in all.\n\n", thousands(sum.Events), len(runs), plural, thousands(int64(sum.Seconds)))
	b.WriteString(hostileText)
	b.WriteString("| lost | doubled | out of order | stuck | waiting for nothing | anything else | effects done again | oldest, ms | without a fault |\n" +
		"|---|---|---|---|---|---|---|---|---|\n")
	row(&b, sum.Lost, sum.Doubled, sum.OutOfOrder, sum.Stuck, sum.Innocent, sum.Other, sum.Repeated, sum.OldestRepeat, sum.Unexplained)
	b.WriteString("\n| fault | times |\n|---|---|\n")
	for _, k := range hostileKinds {
		fmt.Fprintf(&b, "| %s | %s |\n", k.name, thousands(int64(sum.Faults[k.name])))
	}
	b.WriteString("\n| the handler | bad tries |\n|---|---|\n")
	for _, one := range troubles {
		if one.name != huge {
			fmt.Fprintf(&b, "| %s | %s |\n", one.name, thousands(sum.Tries[one.name]))
		}
	}
	b.WriteString("\n| date | version | PostgreSQL | seed | seconds | events | faults | bad tries | p99 of others, ms: calm | failing | at war | verdict |\n" +
		"|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range runs {
		var tries int64
		for _, n := range r.Tries {
			tries += n
		}
		fmt.Fprintf(&b, "| %s | %s | %d | %d ", r.Date, r.Version, r.Postgres, r.Seed)
		fmt.Fprintf(&b, "| %d | %s | %s | %s ", r.Seconds, thousands(r.Events), thousands(r.faults()), thousands(tries))
		for _, arm := range arms {
			fmt.Fprintf(&b, "| %s ", thousands(r.Latencies[arm.name].P99))
		}
		fmt.Fprintf(&b, "| %s |\n", r.verdict())
	}
	return b.String()
}

// hostileTable is the part of the page that is about these runs.
var hostileTable = table[hostileRun]{"reliability/hostile.jsonl", "<!-- hostile:begin -->", "<!-- hostile:end -->", hostileSection}

// With -write it writes the page instead.
func TestHostileTablesSayWhatTheRunsSay(t *testing.T) {
	t.Parallel()
	hostileTable.wantOnPage(t)
}

func TestHostileRunsAddUp(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	page := filepath.Join(folder, soakPage)
	require.NoError(t, os.WriteFile(page, []byte("# Before\n<!-- hostile:begin -->\nstale rows\n<!-- hostile:end -->\nafter\n"), 0o600))
	first := hostileRun{
		Date: "2030-01-02", Version: "v1", Postgres: 15, Seed: 7, Seconds: 100, Events: 1_234_567, Repeated: 3, OldestRepeat: 900,
		Faults: map[string]int{"worker kill -9": 3, "resize": 1}, Tries: map[trouble]int64{fails: 40, exits: 2},
		Latencies: map[string]latency{"calm": {100, 5, 20, 30}, "failing": {100, 6, 30, 40}, "at war": {100, 7, 2000, 2400}},
	}
	second := first
	second.Innocent, second.Seed, second.OldestRepeat = 1, 8, 100
	require.NoError(t, hostileTable.publish(folder, first))
	require.NoError(t, hostileTable.publish(folder, second))
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	for _, want := range []string{
		"# Before\n", "\nafter\n", "2,469,134 events in 2 runs, of 200 seconds",
		"| 0 | 0 | 0 | 0 | 1 | 0 | 6 | 900 | 0 |",
		"| worker kill -9 | 6 |", "| resize | 2 |", "| an error | 80 |", "| ends the process | 4 |",
		"| 2030-01-02 | v1 | 15 | 7 | 100 | 1,234,567 | 4 | 42 | 20 | 30 | 2,000 | sound |",
		"| 2030-01-02 | v1 | 15 | 8 | 100 | 1,234,567 | 4 | 42 | 20 | 30 | 2,000 | lost 0, doubled 0, out of order 0, stuck 0, waiting for nothing 1,",
	} {
		require.Contains(t, string(text), want)
	}
	require.NotContains(t, string(text), "stale rows")
}
