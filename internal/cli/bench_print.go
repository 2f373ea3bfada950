package cli

import (
	"io"
	"time"

	"github.com/rouse-es/rouse/internal/bench"
	"github.com/rouse-es/rouse/internal/console"
)

// benchProgress draws the bar of a benchmark, no more often than anybody can see.
type benchProgress struct {
	err  io.Writer
	unit string
	bar  *console.Bar
	last time.Time
}

func (p *benchProgress) draw(done, total int64) {
	if p.bar == nil {
		p.bar = console.NewBar(p.err, total)
		p.bar.Unit = p.unit
	}
	if now := time.Now(); now.Sub(p.last) >= 100*time.Millisecond || done == total {
		p.last = now
		p.bar.Draw(done)
	}
}

func (p *benchProgress) clear() {
	if p.bar != nil {
		p.bar.Clear()
	}
}

// benchServerLine says what the numbers depend on.
func benchServerLine(e *env, s bench.Server) error {
	return e.say("%s, fsync %s, synchronous_commit %s", s.Version, s.Settings["fsync"], s.Settings["synchronous_commit"])
}

// lines prints one line after the other until one fails.
func sayLines(e *env, lines ...string) error {
	for _, line := range lines {
		if err := e.say("%s", line); err != nil {
			return err
		}
	}
	return nil
}
