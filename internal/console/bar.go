package console

import (
	"fmt"
	"io"
	"time"
)

// Bar draws the progress of a long work on one line of a terminal. On anything else it draws nothing. One goroutine at a time.
type Bar struct {
	// Unit is that of the total, if it has no rate worth showing.
	Unit string

	w     io.Writer // nil: draw nothing
	total int64     // 0: there is no end
	began time.Time
}

const barWidth = 30

// NewBar begins a bar for total parts; 0: the work has no end.
func NewBar(w io.Writer, total int64) *Bar {
	b := &Bar{total: total, began: time.Now()}
	if IsTerminal(w) {
		b.w = w
	}
	return b
}

// Draw shows how many parts are done.
func (b *Bar) Draw(done int64) {
	if b.w == nil {
		return
	}
	rate := float64(done) / max(time.Since(b.began).Seconds(), 0.001)
	if b.total == 0 {
		_, _ = fmt.Fprintf(b.w, "\r%s  %s/s \x1b[K", Grouped(done), Grouped(int64(rate)))
		return
	}
	line := make([]byte, barWidth)
	for i := range line {
		line[i] = ' '
		if int64(i)*b.total < done*barWidth {
			line[i] = '='
		}
	}
	tail := b.Unit
	if tail == "" {
		tail = Grouped(int64(rate)) + "/s"
	}
	_, _ = fmt.Fprintf(b.w, "\r[%s] %3d %%  %s of %s %s \x1b[K", line, done*100/b.total, Grouped(done), Grouped(b.total), tail)
}

// Clear takes the line away.
func (b *Bar) Clear() {
	if b.w != nil {
		_, _ = fmt.Fprint(b.w, "\r\x1b[K")
	}
}
