package rouse

import (
	"time"

	"github.com/rouse-es/rouse/internal/apply"
)

// SetPatience sets how long failures that others may be the cause of do not count. Call it before Run.
func (w *Worker) SetPatience(d time.Duration) { w.patience = d }

// OnReading calls f before every read of the end of the log, on the goroutine that reads. Call it before Run.
func (w *Worker) OnReading(f func()) { w.reading = f }

// SetPauses sets the pauses between the trials of every breaker. Call it before Run.
func (w *Worker) SetPauses(first, longest time.Duration) {
	w.pauses = apply.Pauses{First: first, Longest: longest}
}

// Rate returns the event rate of a worker whose number of events handled was each of handled, a second apart.
func Rate(handled ...int64) float64 {
	var m member
	for i, n := range handled {
		m.count(n, time.Time{}.Add(time.Duration(i+1)*time.Second))
	}
	return m.rate
}
