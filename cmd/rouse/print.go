package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// printJSON prints one value as an indented document.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// say prints one line of data for people.
func (a *app) say(format string, args ...any) error {
	_, err := fmt.Fprintf(a.out, format+"\n", args...)
	return err
}

// printable is text from the log or from a handler as a terminal may have it: what would steer it is written as in a string of Go.
func printable(text string) string {
	if utf8.ValidString(text) && strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) && r != ' ' }) < 0 {
		return text
	}
	quoted := strconv.Quote(text)
	return quoted[1 : len(quoted)-1]
}

// grouped writes a number with a comma between thousands.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	start := 0
	if n < 0 {
		start = 1
	}
	for i := len(s) - 3; i > start; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// counted writes a number of things: 1 event, 2,000 events.
func counted(n int64, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return grouped(n) + " " + thing
}

// seconds writes a length of time the way people read it: 0 s, 0.25 s, 12 s, 3 min, 5 h, 2 d.
func seconds(s float64) string {
	switch {
	case s < 0.01:
		return "0 s"
	case s < 10:
		return strconv.FormatFloat(math.Round(s*100)/100, 'f', -1, 64) + " s"
	case s < 120:
		return fmt.Sprintf("%.0f s", s)
	case s < 2*3600:
		return fmt.Sprintf("%.0f min", s/60)
	case s < 48*3600:
		return fmt.Sprintf("%.0f h", s/3600)
	}
	return fmt.Sprintf("%.0f d", s/86400)
}

// bar draws the progress of a long work on one line of a terminal. On anything else it draws nothing. One goroutine at a time.
type bar struct {
	w     io.Writer // nil: draw nothing
	total int64     // 0: there is no end
	began time.Time
	unit  string // of total, if it has no rate worth showing
}

const barWidth = 30

func newBar(w io.Writer, total int64) *bar {
	b := &bar{total: total, began: time.Now()}
	if isTerminal(w) {
		b.w = w
	}
	return b
}

func (b *bar) draw(done int64) {
	if b.w == nil {
		return
	}
	rate := float64(done) / max(time.Since(b.began).Seconds(), 0.001)
	if b.total == 0 {
		_, _ = fmt.Fprintf(b.w, "\r%s  %s/s \x1b[K", grouped(done), grouped(int64(rate)))
		return
	}
	line := make([]byte, barWidth)
	for i := range line {
		line[i] = ' '
		if int64(i)*b.total < done*barWidth {
			line[i] = '='
		}
	}
	tail := b.unit
	if tail == "" {
		tail = grouped(int64(rate)) + "/s"
	}
	_, _ = fmt.Fprintf(b.w, "\r[%s] %3d %%  %s of %s %s \x1b[K", line, done*100/b.total, grouped(done), grouped(b.total), tail)
}

// clear takes the line away.
func (b *bar) clear() {
	if b.w != nil {
		_, _ = fmt.Fprint(b.w, "\r\x1b[K")
	}
}
