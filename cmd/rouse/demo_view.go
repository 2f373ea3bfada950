package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// demoView shows a demo. One goroutine at a time.
type demoView interface {
	// note shows something that happened at a time after the beginning.
	note(at time.Duration, text string) error

	// frame shows how things are. It is called more often than once a second.
	frame(f frame) error

	// end leaves the output as whoever writes next expects it. It may be called more than once.
	end()
}

// newView is JSON if data is asked for, a table that changes in place on a terminal, and a line every second elsewhere.
func (a *app) newView(f demoFlags) demoView {
	if a.json {
		return &jsonView{w: a.out}
	}
	if file, is := a.out.(*os.File); is && os.Getenv("TERM") != "dumb" {
		if width, _ := terminalSize(file); width > 0 {
			return &tableView{w: file, duration: f.duration, colour: colourful(), size: func() (int, int) { return terminalSize(file) }}
		}
	}
	return &lineView{w: a.out}
}

// colourful tells whether colours are welcome; see https://no-color.org.
func colourful() bool { return os.Getenv("NO_COLOR") == "" }

// jsonView prints one object a second.
type jsonView struct {
	w     io.Writer
	next  int // the second that is due
	notes []string
	last  frame
}

func (v *jsonView) note(_ time.Duration, text string) error {
	v.notes = append(v.notes, text)
	return nil
}

func (v *jsonView) frame(f frame) error {
	v.last = f
	if f.Second < v.next {
		return nil
	}
	return v.print()
}

func (v *jsonView) print() error {
	v.next = v.last.Second + 1
	v.last.Notes = append([]string{}, v.notes...)
	v.notes = nil
	return json.NewEncoder(v.w).Encode(v.last)
}

// end prints what would be lost.
func (v *jsonView) end() {
	if len(v.notes) > 0 && v.last.Workers != nil {
		_ = v.print() // the verdict meets the same error
	}
}

// lineView prints a line every second.
type lineView struct {
	w    io.Writer
	next int // the second that is due
}

func (v *lineView) note(at time.Duration, text string) error {
	_, err := fmt.Fprintln(v.w, noteLine(at, text))
	return err
}

func noteLine(at time.Duration, text string) string {
	return fmt.Sprintf("%4d s  %s", int(at.Seconds()), text)
}

func (v *lineView) frame(f frame) error {
	if f.Second < v.next {
		return nil
	}
	v.next = f.Second + 1
	var b strings.Builder
	fmt.Fprintf(&b, "%4d s  %s", f.Second, totals(f))
	for _, w := range f.Workers {
		fmt.Fprintf(&b, "  %s %.0f %% %s", w.Label, w.SharePercent, modeOf(w))
	}
	_, err := fmt.Fprintln(v.w, b.String())
	return err
}

func (v *lineView) end() {}

// totals is what is true of all workers together.
func totals(f frame) string {
	return fmt.Sprintf("appended %s  handled %s  lag %s  p50 %s  p99 %s", grouped(f.Appended), grouped(f.Handled), grouped(f.Lag), milliseconds(f.P50), milliseconds(f.P99))
}

// modeOf is the mode of a worker, or its state where that says more.
func modeOf(w workerFrame) string {
	if w.Mode == "" {
		return w.State
	}
	return w.Mode
}

// milliseconds writes a latency the way people read it.
func milliseconds(ms *float64) string {
	switch {
	case ms == nil:
		return "-"
	case *ms < 10:
		return fmt.Sprintf("%.1f ms", *ms)
	}
	return grouped(int64(*ms+0.5)) + " ms"
}

// tableView is a table that is drawn again in place; notes stay above it. It leaves the cursor visible and sets no mode of the
// terminal, so there is nothing to restore, however the program ends.
type tableView struct {
	w        io.Writer
	duration time.Duration
	colour   bool
	size     func() (width, height int)

	drawn int // lines of the table that are on the screen
	last  *frame
}

func (v *tableView) note(at time.Duration, text string) error {
	return v.draw(noteLine(at, text))
}

func (v *tableView) frame(f frame) error {
	v.last = &f
	return v.draw("")
}

// end leaves the table where it is; what comes next is written below it.
func (v *tableView) end() { v.drawn, v.last = 0, nil }

// draw writes the table over the one before, below a note if there is one, in one piece so that nothing flickers.
func (v *tableView) draw(note string) error {
	width, height := v.size()
	if width <= 0 {
		width, height = 80, 24
	}
	var b strings.Builder
	if v.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\r\x1b[J", v.drawn)
	}
	if note != "" {
		b.WriteString(clip(note, width-1) + "\n")
	}
	lines := v.lines()
	lines = lines[:min(len(lines), max(height-2, 1))] // what has scrolled away cannot be drawn over
	for _, l := range lines {
		b.WriteString(v.styled(clip(l.text, width-1), l.style) + "\n")
	}
	v.drawn = len(lines)
	_, err := io.WriteString(v.w, b.String())
	return err
}

// tableLine is one line of the table.
type tableLine struct{ text, style string }

// The styles of the table, as ANSI has them.
const (
	dim    = "2"
	bold   = "1"
	red    = "31"
	green  = "32"
	yellow = "33"
)

func (v *tableView) styled(text, style string) string { return styled(v.colour, text, style) }

func styled(colour bool, text, style string) string {
	if !colour || style == "" {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

func (v *tableView) lines() []tableLine {
	f := v.last
	if f == nil {
		return nil
	}
	const columns = "%-10s %8s %7s %11s %10s  %-8s %s"
	clock := fmt.Sprintf("%d s", f.Second)
	if v.duration > time.Duration(f.Second)*time.Second {
		clock += " of " + seconds(v.duration.Seconds())
	}
	lines := []tableLine{
		{"", ""},
		{clock, dim},
		{totals(*f), bold},
		{fmt.Sprintf(columns, "worker", "pid", "share", "partitions", "handled", "mode", "state"), dim},
	}
	for _, w := range f.Workers {
		share, partitions := fmt.Sprintf("%.0f %%", w.SharePercent), fmt.Sprint(w.Partitions)
		line := fmt.Sprintf(columns, w.Label, fmt.Sprint(w.PID), share, partitions, grouped(w.Handled), w.Mode, w.State)
		lines = append(lines, tableLine{line, stateStyle(w.State)})
	}
	return lines
}

func stateStyle(state string) string {
	switch state {
	case stateKilled, stateFrozen:
		return red
	case stateLeft:
		return dim
	case "live":
		return ""
	}
	return yellow
}
