package report

import (
	"fmt"
	"strings"

	"github.com/rouse-es/rouse/bench/compare"
	"github.com/rouse-es/rouse/internal/bench"
)

// goal is one line of the table of goals.
type goal struct {
	what, aim string
	parts     []part
	missing   []string // what belongs to it and was not measured
}

// part is one measurement of a goal.
type part struct {
	shown   string
	reached bool
}

// row has the verdict. Nothing is reached of which a part was not measured.
func (g goal) row() string {
	verdict := "reached"
	var shown []string
	for _, p := range g.parts {
		shown = append(shown, p.shown)
		if !p.reached {
			verdict = "**not reached**"
		}
	}
	switch {
	case len(g.parts) == 0:
		verdict = "not measured"
	case len(g.missing) > 0:
		shown = append(shown, strings.Join(g.missing, ", ")+": not measured")
		if verdict == "reached" {
			verdict = "not measured"
		}
	}
	return fmt.Sprintf("| %s | %s | %s | %s |\n", g.what, g.aim, strings.Join(shown, "; "), verdict)
}

func (g *goal) add(reached bool, format string, args ...any) {
	g.parts = append(g.parts, part{fmt.Sprintf(format, args...), reached})
}

func (g *goal) miss(format string, args ...any) {
	g.missing = append(g.missing, fmt.Sprintf(format, args...))
}

// goals are what was aimed at, and what came of it.
func (r results) goals() []goal {
	return []goal{
		r.quietGoal(), r.costGoal(), r.busyGoal(), r.ladderGoal(), r.rowsGoal(), r.heldGoal(),
		r.besidePollerGoal(), r.plainGoal(), r.appendGoal(), r.besideGoal(),
		r.readGoal(), r.watermillGoal(), r.upsertGoal(), r.formsGoal(), r.partitionsGoal(), r.payloadsGoal(), r.processGoal(), r.memoryGoal(), r.scaleGoal(),
		r.waitGoal(), r.projectionsGoal(), r.crowdGoal(), r.notifyGoal(),
	}
}

// step finds a step by its rate.
func step(l *bench.LatencyResult, rate float64) *bench.LatencyStep {
	if l == nil {
		return nil
	}
	for i := range l.Steps {
		if l.Steps[i].Rate == rate {
			return &l.Steps[i]
		}
	}
	return nil
}

func (r results) quietGoal() goal {
	g := goal{what: "quiet: commit to handled and committed, a batch projection", aim: "p50 and p99 <= 1.2x of NOTIFY + SELECT + COMMIT on two connections, by index"}
	for _, rate := range []float64{10, 50, 100} {
		if s := step(r.quiet, rate); s != nil {
			g.add(s.Ratio.P50 <= 1.2 && s.Ratio.P99 <= 1.2, "%g/s: %.2fx, %.2fx", rate, s.Ratio.P50, s.Ratio.P99)
		} else {
			g.miss("%g/s", rate)
		}
	}
	return g
}

func (r results) costGoal() goal {
	g := goal{what: "an event at rest: statements, context switches, allocations", aim: "<= 5, <= 24, <= 160, append included, begin and commit not counted"}
	if c := r.cost; c != nil {
		g.add(c.Rouse.Statements <= 5, "%.1f", c.Rouse.Statements)
		g.add(c.Rouse.Switches <= 24, "%.1f", c.Rouse.Switches)
		g.add(c.Rouse.Allocations <= 160, "%.0f (the floor %.1f, %.1f, %.0f)", c.Rouse.Allocations, c.Floor.Statements, c.Floor.Switches, c.Floor.Allocations)
	}
	return g
}

func (r results) busyGoal() goal {
	g := goal{what: "1,000 and 3,000/s from 16 writers", aim: "p50 <= 1.2 ms, p99 <= 5 ms; writers >= 0.95 of those beside nobody"}
	for _, rate := range []float64{1000, 3000} {
		s := step(r.busy, rate)
		if s == nil || s.Append == nil || s.AloneAppend == nil || r.busy.Writers != 16 {
			g.miss("%s/s", grouped(rate))
			continue
		}
		writers := s.Appended / s.AloneAppended
		g.add(s.Rouse.P50 <= 1.2 && s.Rouse.P99 <= 5 && writers >= 0.95, "%s/s: %.2f ms, %.1f ms, writers %.2f (p50 of an append %.2f and %.2f ms)",
			grouped(rate), s.Rouse.P50, s.Rouse.P99, writers, s.Append.P50, s.AloneAppend.P50)
	}
	return g
}

func (r results) ladderGoal() goal {
	g := goal{what: "from 100 to 3,000/s and back in steps", aim: "p50 of neighbouring steps <= 2x"}
	if l := r.ladder; l != nil && len(l.Steps) > 0 {
		if low, high := l.Steps[0].Rate, l.Steps[len(l.Steps)/2].Rate; low > 100 || high < 3000 {
			g.miss("100 to 3,000/s")
		}
		g.add(l.Worst <= 2, "%.2fx between %s and %s/s", l.Worst, grouped(l.Between[0]), grouped(l.Between[1]))
	}
	return g
}

// writersRow finds a row by its number of writers.
func (r results) writersRow(writers int) *bench.WritersRow {
	if r.writers == nil {
		return nil
	}
	for i := range r.writers.Rows {
		if r.writers.Rows[i].Writers == writers {
			return &r.writers.Rows[i]
		}
	}
	return nil
}

func (r results) besidePollerGoal() goal {
	g := goal{what: "64 writers at full speed, everything handled: appends of a plain table beside a naive 3 ms poller", aim: ">= 0.9"}
	if row := r.writersRow(64); row != nil {
		g.add(row.Beside >= 0.9, "%.2f (%.2f of the log beside that poller)", row.Beside, row.Worker)
	}
	return g
}

func (r results) plainGoal() goal {
	g := goal{what: "append alone, of a plain table with the same columns and unique keys", aim: ">= 0.85 with 1, 4, 16, 64 writers"}
	for _, n := range []int{1, 4, 16, 64} {
		if row := r.writersRow(n); row != nil {
			g.add(row.Alone >= 0.85, "%d: %.2f", n, row.Alone)
		} else {
			g.miss("%d", n)
		}
	}
	return g
}

func (r results) appendGoal() goal {
	g := goal{what: "append rate, worker running, against push off", aim: ">= 0.95 at 16 and 64 writers, >= 0.9 at 1 and 4; also with commit_delay"}
	if r.append != nil {
		for _, d := range r.append.Disks {
			for _, row := range d.Rows {
				aim := 0.9
				if row.Writers >= 16 {
					aim = 0.95
				}
				g.parts = append(g.parts, part{fmt.Sprintf("%s%d: %.2f", delayed(d.Disk), row.Writers, row.RouseRatio), row.RouseRatio >= aim})
			}
		}
	}
	return g
}

// delayed marks the numbers of a slow disk.
func delayed(d bench.Disk) string {
	if d == bench.DiskSlow {
		return "delayed, "
	}
	return ""
}

func (r results) besideGoal() goal {
	g := goal{what: "the same with 64 idle processes listening", aim: ">= 0.9"}
	if r.beside != nil {
		for _, d := range r.beside.Disks {
			for _, row := range d.Rows {
				g.parts = append(g.parts, part{fmt.Sprintf("%s%d: %.2f", delayed(d.Disk), row.Writers, row.RouseRatio), row.RouseRatio >= 0.9})
			}
		}
	}
	return g
}

func (r results) readGoal() goal {
	g := goal{what: "catch-up with a handler that does nothing", aim: ">= 1.0 of the raw read of 1,000 at a time, nothing decoded"}
	if r.catchup != nil {
		g.add(r.catchup.Nothing.Ratio >= 1, "%.2f", r.catchup.Nothing.Ratio)
	}
	return g
}

func (r results) upsertGoal() goal {
	g := goal{what: "catch-up with an upsert for each event", aim: ">= 2.0 of a pipelined loop of 1,000 written by hand"}
	if r.catchup != nil {
		g.add(r.catchup.Upsert.Ratio >= 2, "%.2f", r.catchup.Upsert.Ratio)
	}
	return g
}

func (r results) formsGoal() goal {
	g := goal{what: "the same through `Batched`, a statement for each event, and through `Apply` that does nothing", aim: ">= 0.8 of the same by hand"}
	if c := r.catchup; c != nil && len(c.Batched.Rounds) > 0 && len(c.Apply.Rounds) > 0 {
		g.add(c.Batched.Ratio >= 0.8, "Batched: %.2f", c.Batched.Ratio)
		g.add(c.Apply.Ratio >= 0.8, "Apply: %.2f", c.Apply.Ratio)
	}
	return g
}

func (r results) processGoal() goal {
	g := goal{what: "`rouse worker --once`, its built-in projection, with its start-up", aim: ">= 0.2 of the raw read"}
	if r.catchup != nil && r.catchup.Process != nil {
		g.add(r.catchup.Process.Ratio >= 0.2, "%.2f", r.catchup.Process.Ratio)
	}
	return g
}

func (r results) watermillGoal() goal {
	g := goal{what: "the same, against watermill-sql tuned", aim: ">= 15x"}
	if ours, theirs := r.side(compare.Rouse), r.side(compare.Watermill); ours != nil && theirs != nil {
		times := ours.Idle / theirs.Idle
		g.add(times >= 15, "%.1fx", times)
	}
	return g
}

func (r results) partitionsGoal() goal {
	g := goal{what: "1,024 partitions against 32", aim: ">= 0.8 behind and at rest"}
	if p := r.partitions; p != nil && len(p.Rows) > 0 && p.Rows[0].Partitions == 32 {
		for _, row := range p.Rows {
			if row.Partitions == 1024 {
				g.add(row.NothingRatio >= 0.8, "nothing: %.2f", row.NothingRatio)
				g.add(row.UpsertRatio >= 0.8, "upserts: %.2f", row.UpsertRatio)
				g.add(row.QuietRatio >= 0.8, "at rest: %.2f", row.QuietRatio)
			}
		}
	}
	return g
}

func (r results) payloadsGoal() goal {
	g := goal{what: "payloads of 1 MB, 10 KB and 100 B", aim: "<= 128 MiB; >= 0.8 of the raw read"}
	rows := map[int64]bench.PayloadsRow{}
	if r.payloads != nil {
		for _, row := range r.payloads.Rows {
			rows[row.Bytes] = row
		}
	}
	for _, bytes := range []int64{1 << 20, 10 << 10, 100} {
		if row, known := rows[bytes]; known {
			g.add(row.PeakMiB > 0 && row.PeakMiB <= 128 && row.Ratio >= 0.8, "%s B: %.0f MiB, %.2f", grouped(float64(bytes)), row.PeakMiB, row.Ratio)
		} else {
			g.miss("%s B", grouped(float64(bytes)))
		}
	}
	return g
}

func (r results) waitGoal() goal {
	g := goal{what: "`WaitFor` in another process, 1, 10 and 100 at once: p50 over that of the handling of the same events", aim: "<= 1.2x"}
	rows := map[int]bench.WaitRow{}
	if r.wait != nil {
		for _, row := range r.wait.Rows {
			rows[row.Waiters] = row
		}
	}
	for _, waiters := range []int{1, 10, 100} {
		if row, known := rows[waiters]; known {
			g.add(row.Ratio.P50 <= 1.2, "%d: %.2fx", waiters, row.Ratio.P50)
		} else {
			g.miss("%d", waiters)
		}
	}
	return g
}

func (r results) projectionsGoal() goal {
	g := goal{what: "50 and 200 projections in one process, 20 events/s: the last one's p50 of a single one's; connections; memory; start",
		aim: "<= 3x and <= 8x; <= 10; <= 64 and 128 MiB; <= 2 s"}
	rows := map[int]bench.ManyRow{}
	if r.projections != nil && len(r.projections.Rows) > 0 && r.projections.Rows[0].Projections == 1 {
		for _, row := range r.projections.Rows {
			rows[row.Projections] = row
		}
	}
	for _, aim := range []struct {
		projections   int
		times, memory float64
	}{{50, 3, 64}, {200, 8, 128}} {
		row, known := rows[aim.projections]
		if !known {
			g.miss("%d", aim.projections)
			continue
		}
		reached := row.Ratio <= aim.times && row.Connections <= 10 && row.PeakMiB > 0 && row.PeakMiB <= aim.memory && row.Start <= 2
		g.add(reached, "%d: %.1fx, %d, %.0f MiB, %.1f s", aim.projections, row.Ratio, row.Connections, row.PeakMiB, row.Start)
	}
	return g
}

func (r results) crowdGoal() goal {
	g := goal{what: "64 workers of one projection at rest, all statements of all of them", aim: "<= 20 a second"}
	if c := r.crowd; c != nil && c.Workers == 64 && c.Sent > 0 {
		g.add(c.Sent <= 20, "%.1f on %d connections", c.Sent, c.Connections)
	}
	return g
}

func (r results) scaleGoal() goal {
	g := goal{what: "four workers, CPU of all processes and the server", aim: "<= 1.3x one worker"}
	if r.scale != nil {
		for _, row := range r.scale.Rows {
			if row.Workers == 4 {
				g.add(row.CPURatio > 0 && row.CPURatio <= 1.3, "%.2fx", row.CPURatio)
			}
		}
	}
	return g
}

func (r results) notifyGoal() goal {
	g := goal{what: "notifications of appends while nobody sleeps", aim: "none"}
	if r.idle != nil {
		g.add(r.idle.Unslept == 0, "%d of %d appends", r.idle.Unslept, r.idle.Appends)
	}
	return g
}

// noDifference is how far two measurements of the same thing lie apart here. Steps that follow each other by minutes are
// compared by their ratios to the floor, which is the same in both: the machine's own speed changes by more than what is sought.
const noDifference = 1.2

func (r results) heldGoal() goal {
	g := goal{what: "a foreign write transaction held open for a minute", aim: "latency as without it"}
	if r.held != nil && len(r.held.Steps) == 2 {
		free, held := r.held.Steps[0], r.held.Steps[1]
		g.add(held.Ratio.P50 <= free.Ratio.P50*noDifference, "p50 %.2f and %.2f ms, %.2fx and %.2fx of the floor of the same minute",
			free.Rouse.P50, held.Rouse.P50, free.Ratio.P50, held.Ratio.P50)
	}
	return g
}

// mostRows is how many rows the goal speaks of; this is what a disk must hold for it.
const mostRows = 100_000_000

func (r results) rowsGoal() goal {
	g := goal{what: "latency in a log of 100,000,000 against 100,000, as far as the disk allows", aim: "<= 1.1x"}
	if r.rows != nil && len(r.rows.Steps) > 1 {
		small, large := r.rows.Steps[0], r.rows.Steps[len(r.rows.Steps)-1]
		times := large.Ratio.P50 / small.Ratio.P50
		tried := ""
		if large.TableRows < mostRows {
			tried = ", more was not tried"
		}
		g.add(times <= 1.1, "%s rows%s: p50 %.2f and %.2f ms, of the floors of the same minutes %.2fx", grouped(float64(large.TableRows)), tried,
			small.Rouse.P50, large.Rouse.P50, times)
		if large.TableRows < 10_000_000 || small.TableRows > 100_000 {
			g.miss("10,000,000 against 100,000")
		}
	}
	return g
}

func (r results) memoryGoal() goal {
	g := goal{what: "memory of a worker in catch-up", aim: "under 100 MiB"}
	if r.catchup != nil && r.catchup.Process != nil && r.catchup.Process.PeakMiB > 0 {
		g.add(r.catchup.Process.PeakMiB < 100, "%.0f MiB at most", r.catchup.Process.PeakMiB)
	}
	return g
}

// side is one of the comparison.
func (r results) side(name string) *compare.Side {
	if r.compare == nil {
		return nil
	}
	for i := range r.compare.Sides {
		if r.compare.Sides[i].Name == name {
			return &r.compare.Sides[i]
		}
	}
	return nil
}

func ratio(v float64) string { return fmt.Sprintf("%.2f", v) }
