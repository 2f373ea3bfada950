package process

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

const (
	// defaultKeep is how many lines are kept for a message about a child that failed.
	defaultKeep = 12

	// longestLine cuts a line that never ends, so that a broken program cannot fill the memory: 16 KiB, far above anything
	// that people read.
	longestLine = 16 << 10
)

// Lines is the writer behind the output of a child. It keeps the last lines, without the empty ones. Its zero value is ready.
// It may be used by several goroutines.
type Lines struct {
	// Keep is how many lines are kept; 0: 12.
	Keep int

	// Each is called with each line that is complete, by the goroutine that writes it. Nil: nothing is. It must not use the
	// Lines.
	Each func(line string)

	mu      sync.Mutex // protects following fields
	partial []byte     // of the line that is not complete
	lines   []string
}

// Write implements io.Writer and never fails.
func (l *Lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.partial = append(l.partial, p...)
	for {
		line, rest, found := bytes.Cut(l.partial, []byte("\n"))
		if !found {
			break
		}
		l.add(line)
		l.partial = rest
	}
	if len(l.partial) > longestLine {
		l.add(l.partial)
		l.partial = nil
	}
	return len(p), nil
}

// add takes one complete line. The caller holds mu.
func (l *Lines) add(raw []byte) {
	if end := longestLine; len(raw) > end {
		for end > 0 && !utf8.RuneStart(raw[end]) {
			end--
		}
		raw = raw[:end]
	}
	line := strings.TrimRight(string(raw), "\r")
	if strings.TrimSpace(line) == "" {
		return
	}
	keep := l.Keep
	if keep == 0 {
		keep = defaultKeep
	}
	if len(l.lines) >= keep {
		l.lines = append(l.lines[:0], l.lines[len(l.lines)-keep+1:]...)
	}
	l.lines = append(l.lines, line)
	if l.Each != nil {
		l.Each(line)
	}
}

// All returns the last lines, an unfinished one included.
func (l *Lines) All() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := slices.Clone(l.lines)
	if len(l.partial) > 0 {
		lines = append(lines, string(l.partial))
	}
	return lines
}

// Last returns the last line, and "" if there is none.
func (l *Lines) Last() string {
	lines := l.All()
	if len(lines) == 0 {
		return ""
	}
	return lines[len(lines)-1]
}

// String returns the last lines for a message.
func (l *Lines) String() string {
	lines := l.All()
	if len(lines) == 0 {
		return "(no output)"
	}
	return strings.Join(lines, "\n")
}
