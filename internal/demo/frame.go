package demo

import "github.com/rouse-es/rouse/internal/report"

// Frame is how things are at one moment. Its names in JSON are a promise to scripts.
type Frame struct {
	Second   int           `json:"second"`
	Appended int64         `json:"appended"`
	Handled  int64         `json:"handled"` // rows, so an event that was handled twice counts twice
	Lag      int64         `json:"lag_events"`
	P50      *float64      `json:"p50_ms"` // of the last two seconds; null: nothing was handled
	P99      *float64      `json:"p99_ms"`
	Workers  []WorkerFrame `json:"workers"` // that have been started
	Notes    []string      `json:"notes"`   // what has happened since the last one
}

// share computes what each worker has handled of what all have handled since an earlier sample.
func (f *Frame) share(since Sample) {
	var sum int64
	for _, handled := range since.Handled {
		sum -= handled
	}
	sum += f.Handled
	for i, w := range f.Workers {
		if sum > 0 {
			f.Workers[i].SharePercent = 100 * float64(w.Handled-since.Handled[w.Label]) / float64(sum)
		}
	}
}

// WorkerFrame is one worker: what it has handled by the read model, and what it said of itself in its last heartbeat.
type WorkerFrame struct {
	Label        string  `json:"label"`
	PID          int     `json:"pid"`
	SharePercent float64 `json:"share_percent"` // of what all have handled in about the last two seconds; 0: nothing was
	Partitions   int     `json:"partitions"`
	Handled      int64   `json:"handled"`
	Mode         string  `json:"mode"`  // quiet, torrent, polling or deaf; empty: it has not said yet
	State        string  `json:"state"` // as in status, or starting, killed, left or frozen
}

const (
	stateStarting = "starting"
	stateKilled   = "killed"
	stateLeft     = "left"
	stateFrozen   = "frozen"
)

// describe fills in what the report says of the process. A process that was killed is still in it, under another pid.
func (w *WorkerFrame) describe(r report.Report, projection *report.Projection) {
	for _, row := range r.Workers {
		if row.Label != w.Label || row.PID != w.PID || !row.Alive {
			continue
		}
		w.Mode = row.Mode
		if state := row.States[Name]; state != "" {
			w.State = state
		}
		if projection == nil {
			return
		}
		for _, p := range projection.Partitions {
			if p.Instance == row.Instance {
				w.Partitions++
			}
		}
	}
}
