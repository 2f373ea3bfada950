package main

import (
	"fmt"
	"io"
	"time"

	"github.com/rouse-es/rouse/internal/bench"
)

// benchProgress draws the bar of a benchmark, no more often than anybody can see.
type benchProgress struct {
	err  io.Writer
	unit string
	bar  *bar
	last time.Time
}

func (p *benchProgress) draw(done, total int64) {
	if p.bar == nil {
		p.bar = newBar(p.err, total)
		p.bar.unit = p.unit
	}
	if now := time.Now(); now.Sub(p.last) >= 100*time.Millisecond || done == total {
		p.last = now
		p.bar.draw(done)
	}
}

func (p *benchProgress) clear() {
	if p.bar != nil {
		p.bar.clear()
	}
}

// benchServerLine says what the numbers depend on.
func (a *app) benchServerLine(s bench.Server) error {
	return a.say("%s, fsync %s, synchronous_commit %s", s.Version, s.Settings["fsync"], s.Settings["synchronous_commit"])
}

// lines prints one line after the other until one fails.
func (a *app) lines(lines ...string) error {
	for _, line := range lines {
		if err := a.say("%s", line); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printLatency(r bench.LatencyResult) error {
	if err := a.benchServerLine(r.Server); err != nil {
		return err
	}
	row := func(name string, p bench.Percentiles) string {
		return fmt.Sprintf("%26s %8.2f %8.2f %8.2f", name, p.P50, p.P90, p.P99)
	}
	for _, s := range r.Steps {
		lines := []string{
			fmt.Sprintf("commit to handled and committed, %s events of each side in turn, at most %g/s of each%s (ms)",
				grouped(int64(s.Events)), s.Rate, latencyConditions(r, s)),
			fmt.Sprintf("%26s %8s %8s %8s", "", "p50", "p90", "p99"),
			row("NOTIFY + SELECT + COMMIT", s.Floor),
			row("rouse", s.Rouse),
			row("rouse / floor", bench.Percentiles(s.Ratio)),
		}
		if lost := int64(s.Events) - s.FloorHandled; lost > 0 {
			lines = append(lines, fmt.Sprintf("the floor lost %s events", grouped(lost)))
		}
		if err := a.lines(lines...); err != nil {
			return err
		}
	}
	return nil
}

// latencyConditions names what is not as usual.
func latencyConditions(r bench.LatencyResult, s bench.LatencyStep) (text string) {
	if r.Writers > 1 {
		text += fmt.Sprintf(" from %d writers", r.Writers)
	}
	if s.TableRows > 0 {
		text += fmt.Sprintf(", %s events before", grouped(s.TableRows))
	}
	if s.Held {
		text += ", a foreign transaction open"
	}
	return text
}

func (a *app) printCatchup(r bench.CatchupResult) error {
	if err := a.benchServerLine(r.Server); err != nil {
		return err
	}
	row := func(name, floor string, p bench.CatchupPair) string {
		return fmt.Sprintf("%-26s %12s   %-32s %12s %8.2f", name, grouped(int64(p.Rouse)), floor, grouped(int64(p.Floor)), p.Ratio)
	}
	return a.lines(
		fmt.Sprintf("a history of %s events, events/s, median of %d rounds", grouped(r.Events), len(r.Nothing.Rounds)),
		fmt.Sprintf("%-26s %12s   %-32s %12s %8s", "projection", "rouse", "floor", "", "ratio"),
		row("nothing but checkpoints", "reading, nothing decoded", r.Nothing),
		row("an upsert for each event", "the same by hand, pipelined", r.Upsert),
	)
}

func (a *app) printAppend(r bench.AppendResult) error {
	if err := a.benchServerLine(r.Server); err != nil {
		return err
	}
	for _, disk := range r.Disks {
		name := "the disk as it is"
		if disk.Disk == bench.DiskSlow {
			name = fmt.Sprintf("commit_delay = %s, commit_siblings = %s", disk.Settings["commit_delay"], disk.Settings["commit_siblings"])
		}
		lines := []string{
			fmt.Sprintf("appends/s, %s, median of %d rounds of %g s, each with a worker that handles them", name, len(disk.Rows[0].Rounds), r.Length),
			fmt.Sprintf("%8s %12s %12s %8s %14s %8s", "writers", "push off", "rouse", "ratio", "notify always", "ratio"),
		}
		for _, row := range disk.Rows {
			lines = append(lines, fmt.Sprintf("%8d %12s %12s %8.2f %14s %8.2f", row.Writers, grouped(int64(row.Off)),
				grouped(int64(row.Rouse)), row.RouseRatio, grouped(int64(row.NotifyAlways)), row.NotifyAlwaysRatio))
		}
		if err := a.lines(lines...); err != nil {
			return err
		}
	}
	return a.say("written by %s; %s events appended and handled", r.Writer, grouped(r.Events))
}
