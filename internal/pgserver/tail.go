package pgserver

import (
	"bytes"
	"strings"
	"sync"

	"github.com/rs/zerolog"
)

// tailLines is how many of the last log lines a failed start shows.
const tailLines = 12

// maxLine cuts a line that never ends, so that a broken program cannot fill the
// memory. 16 KB is far above anything that postgres writes.
const maxLine = 16 << 10

// tail is the writer behind a child's output: it keeps the last lines for error
// messages and passes all of them on at debug level. Safe for concurrent use.
type tail struct {
	log zerolog.Logger

	mu      sync.Mutex // protects following fields
	partial []byte
	lines   []string
}

// Write implements io.Writer and never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.partial = append(t.partial, p...)
	for {
		line, rest, found := bytes.Cut(t.partial, []byte("\n"))
		if !found {
			break
		}
		t.add(string(line))
		t.partial = rest
	}
	if len(t.partial) > maxLine {
		t.add(string(t.partial))
		t.partial = nil
	}
	return len(p), nil
}

// add takes one complete line. The caller holds mu.
func (t *tail) add(line string) {
	line = strings.TrimRight(line, "\r")
	if strings.TrimSpace(line) == "" {
		return
	}
	if len(t.lines) == tailLines {
		t.lines = append(t.lines[:0], t.lines[1:]...)
	}
	t.lines = append(t.lines, line)
	t.log.Debug().Str("line", line).Msg("postgres")
}

// String returns the last lines, an unfinished one included.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := t.lines
	if len(t.partial) > 0 {
		lines = append(lines[:len(lines):len(lines)], string(t.partial))
	}
	if len(lines) == 0 {
		return "(no output)"
	}
	return strings.Join(lines, "\n")
}
