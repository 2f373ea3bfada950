// Package console writes for people: numbers and lengths of time as they are read, and what a terminal needs.
package console

import (
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
)

// Grouped writes a number with a comma between thousands.
func Grouped(n int64) string {
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

// Counted writes a number of things: 1 event, 2,000 events.
func Counted(n int64, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return Grouped(n) + " " + thing
}

// Seconds writes a length of time the way people read it: 0 s, 0.25 s, 12 s, 3 min, 5 h, 2 d.
func Seconds(s float64) string {
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

// Clip shortens a text to at most n bytes, never inside a character.
func Clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// Milliseconds writes a latency the way people read it; nil: there is none.
func Milliseconds(ms *float64) string {
	switch {
	case ms == nil:
		return "-"
	case *ms < 10:
		return fmt.Sprintf("%.1f ms", *ms)
	}
	return Grouped(int64(*ms+0.5)) + " ms"
}
