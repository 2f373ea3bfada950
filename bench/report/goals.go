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
	parts     []part // empty: it was not measured
}

// part is one measurement of a goal.
type part struct {
	shown   string
	reached bool
}

func (g goal) row() string {
	verdict := "not measured"
	var shown []string
	if len(g.parts) > 0 {
		verdict = "reached"
	}
	for _, p := range g.parts {
		shown = append(shown, p.shown)
		if !p.reached {
			verdict = "**not reached**"
		}
	}
	return fmt.Sprintf("| %s | %s | %s | %s |\n", g.what, g.aim, strings.Join(shown, "; "), verdict)
}

// goals are what was aimed at, and what came of it.
func (r results) goals() []goal {
	return []goal{
		r.quietGoal(), r.busyGoal(), r.appendGoal(), r.besideGoal(), r.readGoal(), r.upsertGoal(), r.processGoal(), r.watermillGoal(),
		r.scaleGoal(), r.idleGoal(), r.heldGoal(), r.rowsGoal(), r.memoryGoal(),
	}
}

func (r results) quietGoal() goal {
	g := goal{what: "quiet: commit to handled and committed", aim: "p50 <= 1.5x, p99 <= 2x of NOTIFY + SELECT + COMMIT"}
	if r.quiet != nil {
		for _, s := range r.quiet.Steps {
			g.parts = append(g.parts, part{fmt.Sprintf("%g/s: %.2fx, %.2fx", s.Rate, s.Ratio.P50, s.Ratio.P99), s.Ratio.P50 <= 1.5 && s.Ratio.P99 <= 2})
		}
	}
	return g
}

func (r results) busyGoal() goal {
	g := goal{what: "busy, from 16 writers", aim: "p50 <= 5 ms, p99 <= 25 ms or 2x the floor, whichever is larger"}
	if r.busy != nil {
		for _, s := range r.busy.Steps {
			g.parts = append(g.parts, part{fmt.Sprintf("%s/s: %.2f ms, %.1f ms", grouped(s.Rate), s.Rouse.P50, s.Rouse.P99),
				s.Rouse.P50 <= 5 && s.Rouse.P99 <= max(25, 2*s.Floor.P99)})
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
	g := goal{what: "catch-up with a handler that does nothing", aim: ">= 0.8 of the raw batched read"}
	if r.catchup != nil {
		g.parts = []part{{ratio(r.catchup.Nothing.Ratio), r.catchup.Nothing.Ratio >= 0.8}}
	}
	return g
}

func (r results) upsertGoal() goal {
	g := goal{what: "catch-up with an upsert for each event", aim: ">= 0.8 of a pipelined loop written by hand"}
	if r.catchup != nil {
		g.parts = []part{{ratio(r.catchup.Upsert.Ratio), r.catchup.Upsert.Ratio >= 0.8}}
	}
	return g
}

func (r results) processGoal() goal {
	g := goal{what: "the same, `rouse worker` with its start-up", aim: ">= 0.1 of the raw batched read"}
	if r.catchup != nil && r.catchup.Process != nil {
		g.parts = []part{{ratio(r.catchup.Process.Ratio), r.catchup.Process.Ratio >= 0.1}}
	}
	return g
}

func (r results) watermillGoal() goal {
	g := goal{what: "catch-up with a handler that does nothing, against watermill-sql", aim: ">= 10x"}
	if ours, theirs := r.side(compare.Rouse), r.side(compare.Watermill); ours != nil && theirs != nil {
		times := ours.Idle / theirs.Idle
		g.parts = []part{{fmt.Sprintf("%.1fx", times), times >= 10}}
	}
	return g
}

func (r results) scaleGoal() goal {
	g := goal{what: "four workers, CPU of all processes and the server", aim: "<= 1.3x one worker"}
	if r.scale != nil {
		for _, row := range r.scale.Rows {
			if row.Workers == 4 {
				g.parts = []part{{fmt.Sprintf("%.2fx", row.CPURatio), row.CPURatio > 0 && row.CPURatio <= 1.3}}
			}
		}
	}
	return g
}

func (r results) idleGoal() goal {
	g := goal{what: "event path at rest", aim: "<= 1 statement in 10 s and process; no NOTIFY if nobody sleeps"}
	if r.idle != nil {
		g.parts = []part{
			{fmt.Sprintf("%.2f statements in %.2f round trips", r.idle.EventPath, r.idle.EventTrips), r.idle.EventPath <= 1},
			{fmt.Sprintf("%d NOTIFY", r.idle.Unslept), r.idle.Unslept == 0},
		}
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
		g.parts = []part{{fmt.Sprintf("p50 %.2f and %.2f ms, %.2fx and %.2fx of the floor of the same minute", free.Rouse.P50, held.Rouse.P50, free.Ratio.P50, held.Ratio.P50),
			held.Ratio.P50 <= free.Ratio.P50*noDifference}}
	}
	return g
}

func (r results) rowsGoal() goal {
	g := goal{what: "latency in a log of 10,000,000 against 100,000", aim: "<= 1.2x"}
	if r.rows != nil && len(r.rows.Steps) > 1 {
		small, large := r.rows.Steps[0], r.rows.Steps[len(r.rows.Steps)-1]
		times := large.Ratio.P50 / small.Ratio.P50
		g.parts = []part{{fmt.Sprintf("p50 %.2f and %.2f ms, of the floors of the same minutes %.2fx", small.Rouse.P50, large.Rouse.P50, times), times <= 1.2}}
	}
	return g
}

func (r results) memoryGoal() goal {
	g := goal{what: "memory of a worker in catch-up", aim: "under 100 MiB"}
	if r.catchup != nil && r.catchup.Process != nil && r.catchup.Process.PeakMiB > 0 {
		g.parts = []part{{fmt.Sprintf("%.0f MiB at most", r.catchup.Process.PeakMiB), r.catchup.Process.PeakMiB < 100}}
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
