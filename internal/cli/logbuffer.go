package cli

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

const (
	// bufferedLines and bufferedBytes are what of the log may wait for its reader: minutes of a worker's warnings, and a memory that
	// nobody notices.
	bufferedLines = 4096
	bufferedBytes = 1 << 20

	// flushTimeout is how long the end of the program waits for the reader to take the rest of the log.
	flushTimeout = time.Second

	// dropsEvery is the time between two lines that say how many were dropped, where the reader is always behind.
	dropsEvery = time.Second
)

// logBuffer is where the log goes, so that nobody who logs waits for who reads the log: a collector that has stopped reading would
// hold back the batch in hand, and with it a projection. What finds no room is dropped and counted, and a line says how many
// once the log is read again. Write may be called by many goroutines, also after Close.
type logBuffer struct {
	out     io.Writer      // only the goroutine writes to it
	log     zerolog.Logger // the buffer's own lines, straight to out
	lines   chan []byte
	held    atomic.Int64 // bytes in lines
	dropped atomic.Int64
	quit    chan struct{}
	end     sync.Once
	done    chan struct{} // closed when the goroutine has ended
}

// newLogBuffer starts the goroutine that writes to out. Close ends it.
func newLogBuffer(out io.Writer) *logBuffer {
	q := &logBuffer{
		out: out, log: zerolog.New(out).With().Timestamp().Logger(), lines: make(chan []byte, bufferedLines),
		quit: make(chan struct{}), done: make(chan struct{}),
	}
	go q.run()
	return q
}

// Write takes one line, and never waits. It always returns the length of p: a line that is dropped is nobody's error.
func (q *logBuffer) Write(p []byte) (int, error) {
	if q.held.Add(int64(len(p))) > bufferedBytes {
		q.drop(p)
		return len(p), nil
	}
	select {
	case q.lines <- bytes.Clone(p): // the logger uses p again
	default:
		q.drop(p)
	}
	return len(p), nil
}

func (q *logBuffer) drop(p []byte) {
	q.held.Add(-int64(len(p)))
	q.dropped.Add(1)
}

// Dropped returns how many lines nobody will read.
func (q *logBuffer) Dropped() int64 { return q.dropped.Load() }

// collector shows the lines that were dropped as a metric.
func (q *logBuffer) collector() prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "rouse_log_lines_dropped_total", Help: "Lines of the log that were dropped because nobody read them.",
	}, func() float64 { return float64(q.Dropped()) })
}

// Close writes what is left, for flushTimeout at most. It reports whether the goroutine has ended: if not, it is in a write that
// nobody reads, and lasts as long as the process.
func (q *logBuffer) Close() bool {
	q.end.Do(func() { close(q.quit) })
	return within(flushTimeout, q.done)
}

func (q *logBuffer) run() {
	defer close(q.done)
	var said int64
	var at time.Time
	say := func() {
		if n := q.Dropped() - said; n > 0 {
			said += n
			at = time.Now()
			q.log.Warn().Int64("lines", n).Msg("nobody read the log, lines were dropped")
		}
	}
	for {
		select {
		case line := <-q.lines:
			q.print(line)
			if len(q.lines) == 0 || time.Since(at) > dropsEvery {
				say()
			}
		case <-q.quit:
			for {
				select {
				case line := <-q.lines:
					q.print(line)
				default:
					say()
					return
				}
			}
		}
	}
}

// print writes one line. Where the reader has closed its end, the line counts as dropped.
func (q *logBuffer) print(line []byte) {
	q.held.Add(-int64(len(line)))
	if _, err := q.out.Write(line); err != nil {
		q.dropped.Add(1)
	}
}

// sayLast prints the last sentence of the program, for which it waits no longer than for the log: a stopped reader may hold the other
// end and not read.
func sayLast(w io.Writer, sentence string) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = fmt.Fprintln(w, sentence)
	}()
	within(flushTimeout, done)
}

// within reports whether done is closed in time.
func within(timeout time.Duration, done <-chan struct{}) bool {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}
