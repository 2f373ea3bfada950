package reliability_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// run is what a soak adds to docs/reliability/runs.jsonl, a line each.
type run struct {
	Date       string           `json:"date"`
	Version    string           `json:"version"`
	Postgres   int              `json:"postgres"`
	Seed       uint64           `json:"seed"`
	Seconds    int              `json:"seconds"`
	Events     int64            `json:"events"` // acknowledged
	Lost       int64            `json:"lost"`   // events and effects, from the log or from the read model
	Doubled    int64            `json:"doubled"`
	OutOfOrder int64            `json:"out_of_order"`
	Stuck      int64            `json:"stuck"`
	Other      int64            `json:"other"` // everything else that the judge found
	Unanswered int64            `json:"unanswered"`
	Repeated   int64            `json:"effects_repeated"`
	Faults     map[string]tally `json:"faults"`
}

// tally is what a run has of one fault. The recoveries are there one by one, so that percentiles over runs are true.
type tally struct {
	Count      int     `json:"count"`
	P50        int64   `json:"p50_ms"`
	P99        int64   `json:"p99_ms"`
	Max        int64   `json:"max_ms"`
	Recoveries []int64 `json:"recoveries_ms"` // all of them, sorted
	Alone      []int64 `json:"alone_ms"`      // those of them without another fault, sorted
}

// summarize is the run of an outcome and its verdict.
func summarize(a *arena, o outcome, v verdict) run {
	r := run{
		Date: time.Now().UTC().Format(time.DateOnly), Version: *versionFlag, Postgres: a.machine.Major(), Seed: a.seed,
		Seconds: int(o.took.Seconds()), Events: v.Acknowledged,
		Lost: v.Missing + v.Lost + v.EffectsLost, Doubled: v.Doubled, OutOfOrder: v.OutOfOrder, Stuck: v.Stuck + int64(o.unrecovered),
		Other:      v.Strange + v.Phantom + v.Beyond + v.Miscounted + v.EffectsPhantom,
		Unanswered: v.Open, Repeated: v.Repeated, Faults: map[string]tally{},
	}
	for _, k := range kinds {
		t := tally{Count: o.count[k.name], Recoveries: []int64{}, Alone: []int64{}}
		for _, one := range o.recoveries[k.name] {
			ms := one.took.Milliseconds()
			t.Recoveries = append(t.Recoveries, ms)
			if one.alone {
				t.Alone = append(t.Alone, ms)
			}
		}
		t.sort()
		r.Faults[k.name] = t
	}
	return r
}

// sort sorts the recoveries and finds their percentiles.
func (t *tally) sort() {
	slices.Sort(t.Recoveries)
	slices.Sort(t.Alone)
	t.P50, t.P99, t.Max = percentile(t.Recoveries, 50), percentile(t.Recoveries, 99), percentile(t.Recoveries, 100)
}

// percentile is one of sorted milliseconds, 0 if there are none.
func percentile(sorted []int64, p int) int64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[(len(sorted)-1)*p/100]
}

// recoveryText says what the numbers mean.
const recoveryText = "`make soak`" + ` makes them: two to three faults a second at random, on top of each other, or fewer (` + "`PACE`" + `), on four workers
with a lease of 1 s, while eight appenders write, half of them through a proxy, and now and then in bulk. The same seed makes the
same schedule.

- *Recovery* is the time until, in every partition that the fault affects, the first event that was appended after a moment is
  handled and committed. It is seen every 20 ms, and includes the wait for that event.
- For a worker that is killed, frozen, told to stop or cut off, the moment is the beginning of the fault, and the partitions are
  those that it owned. Without any, nothing is measured; nor for a fault of the network between appenders and server.
- For sessions that are terminated, the moment is the same, and all partitions are affected.
- For the server, the moment is when it is back, and all partitions are affected.
- *Without another fault* are the recoveries during which nothing else was broken or recovering. The others include whatever
  else was broken at the time, an outage of the server too.
- *Lost* is acknowledged and not in the log, or in the log and passed by without being handled, or without its effect outside
  the database. *Stuck* is not handled within two minutes after everything was healed. A commit that was not answered may be there
  or not, as a whole, and never twice. Effects outside the database are done at least once.

`

// section is what the page says of the runs.
func section(runs []run) string {
	var b strings.Builder
	sum := run{Faults: map[string]tally{}}
	for _, r := range runs {
		sum.add(r)
	}
	plural := "s"
	if len(runs) == 1 {
		plural = ""
	}
	fmt.Fprintf(&b, "%s events in %d run%s, of %s seconds in all.\n\n", thousands(sum.Events), len(runs), plural, thousands(int64(sum.Seconds)))
	b.WriteString(recoveryText)
	b.WriteString("| lost | doubled | out of order | stuck | anything else | commits without an answer, events | effects done again |\n" +
		"|---|---|---|---|---|---|---|\n")
	row(&b, sum.Lost, sum.Doubled, sum.OutOfOrder, sum.Stuck, sum.Other, sum.Unanswered, sum.Repeated)
	b.WriteString("\n| fault | times | recoveries, ms: p50 | p99 | longest | without another fault: times | p50 | p99 | longest |\n" +
		"|---|---|---|---|---|---|---|---|---|\n")
	for _, k := range kinds {
		t := sum.Faults[k.name]
		t.sort()
		fmt.Fprintf(&b, "| %s ", k.name)
		fmt.Fprintf(&b, "| %s %s", thousands(int64(t.Count)), spread(t.Recoveries))
		fmt.Fprintf(&b, "| %s %s|\n", thousands(int64(len(t.Alone))), spread(t.Alone))
	}
	b.WriteString("\n| date | version | PostgreSQL | seed | seconds | events | faults | verdict |\n|---|---|---|---|---|---|---|---|\n")
	for _, r := range runs {
		faults := 0
		for _, t := range r.Faults {
			faults += t.Count
		}
		fmt.Fprintf(&b, "| %s | %s | %d | %d ", r.Date, r.Version, r.Postgres, r.Seed)
		fmt.Fprintf(&b, "| %d | %s | %s | %s |\n", r.Seconds, thousands(r.Events), thousands(int64(faults)), r.verdict())
	}
	return b.String()
}

// spread is three cells of a table: the median, the 99th percentile and the longest of sorted times, or that there are none.
func spread(sorted []int64) string {
	if len(sorted) == 0 {
		return "| — | — | — "
	}
	var b strings.Builder
	for _, p := range []int{50, 99, 100} {
		fmt.Fprintf(&b, "| %s ", thousands(percentile(sorted, p)))
	}
	return b.String()
}

// row ends a row of a table with numbers.
func row(b *strings.Builder, numbers ...int64) {
	for _, n := range numbers {
		fmt.Fprintf(b, "| %s ", thousands(n))
	}
	b.WriteString("|\n")
}

func (r run) verdict() string {
	if r.Lost+r.Doubled+r.OutOfOrder+r.Stuck+r.Other == 0 {
		return "sound"
	}
	return fmt.Sprintf("lost %d, doubled %d, out of order %d, stuck %d, else %d", r.Lost, r.Doubled, r.OutOfOrder, r.Stuck, r.Other)
}

// add adds another run up.
func (r *run) add(other run) {
	r.Seconds += other.Seconds
	r.Events += other.Events
	r.Lost += other.Lost
	r.Doubled += other.Doubled
	r.OutOfOrder += other.OutOfOrder
	r.Stuck += other.Stuck
	r.Other += other.Other
	r.Unanswered += other.Unanswered
	r.Repeated += other.Repeated
	for name, t := range other.Faults {
		all := r.Faults[name]
		all.Count += t.Count
		all.Recoveries = append(all.Recoveries, t.Recoveries...)
		all.Alone = append(all.Alone, t.Alone...)
		r.Faults[name] = all
	}
}

// thousands is a number as people write it.
func thousands(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// soakTable is the part of the page that is about these runs.
var soakTable = table[run]{"reliability/runs.jsonl", "<!-- soak:begin -->", "<!-- soak:end -->", section}

// With -write it writes the page instead.
func TestSoakTablesSayWhatTheRunsSay(t *testing.T) {
	t.Parallel()
	soakTable.wantOnPage(t)
}

func TestSoakRunsAddUp(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	page := filepath.Join(folder, soakPage)
	require.NoError(t, os.WriteFile(page, []byte("# Before\n"+soakTable.begin+"\nstale rows\n"+soakTable.end+"\nafter\n"), 0o600))
	first := run{Date: "2030-01-02", Version: "v1", Postgres: 15, Seed: 7, Seconds: 100, Events: 1_234_567,
		Faults: map[string]tally{"worker kill -9": {Count: 3, Recoveries: []int64{10, 20, 90}, Alone: []int64{10}}}}
	second := first
	second.Doubled, second.Seed = 1, 8
	second.Faults = map[string]tally{"worker kill -9": {Count: 2, Recoveries: []int64{5, 15}}}
	require.NoError(t, soakTable.publish(folder, first))
	require.NoError(t, soakTable.publish(folder, second))
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	for _, want := range []string{
		"# Before\n", "\nafter\n", "2,469,134 events in 2 runs, of 200 seconds",
		"| 0 | 1 | 0 | 0 | 0 | 0 | 0 |",
		"| worker kill -9 | 5 | 15 | 20 | 90 | 1 | 10 | 10 | 10 |",
		"| 2030-01-02 | v1 | 15 | 7 | 100 | 1,234,567 | 3 | sound |",
		"| 2030-01-02 | v1 | 15 | 8 | 100 | 1,234,567 | 2 | lost 0, doubled 1, out of order 0, stuck 0, else 0 |",
	} {
		require.Contains(t, string(text), want)
	}
	require.NotContains(t, string(text), "stale rows")
}
