package demo

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/rouse-es/rouse/internal/console"
)

// view shows a demo. One goroutine at a time.
type view interface {
	// note shows something that happened at a time after the beginning.
	note(at time.Duration, text string) error

	// Frame shows how things are. It is called more often than once a second.
	frame(f Frame) error

	// end leaves the output as whoever writes next expects it. It may be called more than once.
	end()
}

// newView is JSON if data is asked for, a table that changes in place on a terminal, and a line every second elsewhere.
func newView(cfg Config) view {
	if cfg.JSON {
		return &jsonView{w: cfg.Out}
	}
	if file, is := cfg.Out.(*os.File); is && os.Getenv("TERM") != "dumb" {
		if width, _ := console.Size(file); width > 0 {
			return &tableView{w: file, duration: cfg.Duration, colour: console.Colourful(), size: func() (int, int) { return console.Size(file) }}
		}
	}
	return &lineView{w: cfg.Out}
}

// jsonView prints one object a second.
type jsonView struct {
	w     io.Writer
	next  int // the second that is due
	notes []string
	last  Frame
}

func (v *jsonView) note(_ time.Duration, text string) error {
	v.notes = append(v.notes, text)
	return nil
}

func (v *jsonView) frame(f Frame) error {
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
	return console.JSON(v.w, v.last, "")
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
	return fmt.Sprintf("%4d s  %s", int(at.Seconds()), console.Printable(text))
}

func (v *lineView) frame(f Frame) error {
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
func totals(f Frame) string {
	return fmt.Sprintf("appended %s  handled %s  lag %s  p50 %s  p99 %s", console.Grouped(f.Appended), console.Grouped(f.Handled), console.Grouped(f.Lag), console.Milliseconds(f.P50), console.Milliseconds(f.P99))
}

// modeOf is the mode of a worker, or its state where that says more.
func modeOf(w WorkerFrame) string {
	if w.Mode == "" {
		return w.State
	}
	return w.Mode
}
