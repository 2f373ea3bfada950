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

// Said is what a worker takes from a handler and, where that says nothing, from the configuration.
type Said struct {
	Name                   string
	Events, Aggregates     []string
	Start                  Start
	OnFailure              OnFailure
	Tries, Version         int
	BatchTime              time.Duration
	Tables                 []string
	Resets, Creates, Batch bool
}

// SaidOf returns what a worker would take from the handlers of cfg.
func SaidOf(cfg Config) []Said {
	var all []Said
	for _, u := range units(cfg, nil) {
		all = append(all, Said{
			Name: u.name, Events: u.types.Events, Aggregates: u.types.Aggregates, Start: u.start, OnFailure: OnFailure(u.handler.OnFailure),
			Tries: u.handler.Retry.Tries, Version: u.version, BatchTime: u.handler.BatchTime, Tables: u.tables,
			Resets: u.reset != nil, Creates: u.create != nil, Batch: u.handler.ApplyBatch != nil,
		})
	}
	return all
}
