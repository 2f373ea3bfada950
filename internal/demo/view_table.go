package demo

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/rouse-es/rouse/internal/console"
)

// tableView is a table that is drawn again in place; notes stay above it. It leaves the cursor visible and sets no mode of the
// terminal, so there is nothing to restore, however the program ends.
type tableView struct {
	w        io.Writer
	duration time.Duration
	colour   bool
	size     func() (width, height int)

	drawn int // lines of the table that are on the screen
	last  *Frame
}

func (v *tableView) note(at time.Duration, text string) error {
	return v.draw(noteLine(at, text))
}

func (v *tableView) frame(f Frame) error {
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
		b.WriteString(console.Clip(note, width-1) + "\n")
	}
	lines := v.lines()
	lines = lines[:min(len(lines), max(height-2, 1))] // what has scrolled away cannot be drawn over
	for _, l := range lines {
		b.WriteString(v.styled(console.Clip(l.text, width-1), l.style) + "\n")
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
		clock += " of " + console.Seconds(v.duration.Seconds())
	}
	lines := []tableLine{
		{"", ""},
		{clock, dim},
		{totals(*f), bold},
		{fmt.Sprintf(columns, "worker", "pid", "share", "partitions", "handled", "mode", "state"), dim},
	}
	for _, w := range f.Workers {
		share, partitions := fmt.Sprintf("%.0f %%", w.SharePercent), fmt.Sprint(w.Partitions)
		line := fmt.Sprintf(columns, w.Label, fmt.Sprint(w.PID), share, partitions, console.Grouped(w.Handled), w.Mode, w.State)
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
