package rouse

import (
	"math"
	"os"
	"time"

	"github.com/rouse-es/rouse/listener"
	"github.com/rouse-es/rouse/partition"
)

// Status is what a Worker is doing.
type Status struct {
	Instance, Label string
	Mode            string           // quiet, torrent, polling or deaf
	States          map[string]State // by projection
	EventsHandled   int64
	LastWake        time.Time // zero: none yet
	Listening       bool      // the listening connection stands, and a notification has lately come through it
}

// Status tells what the worker is doing at this moment.
func (w *Worker) Status() Status {
	s := Status{Instance: w.instance, Label: w.cfg.Label, Mode: string(listener.Polling), States: map[string]State{}}
	for _, r := range w.runners {
		s.States[r.name] = r.state()
		s.EventsHandled += r.handled.Load()
	}
	select {
	case <-w.ready:
	default:
		return s
	}
	if w.listener != nil {
		state := w.listener.State()
		s.Mode, s.LastWake, s.Listening = string(state.Mode), state.LastWake, state.Proven
	}
	return s
}

// member says what there is to say of the worker in its row of projection_workers. It is asked by the control's goroutine alone.
type member struct {
	w       *Worker
	host    string
	handled int64 // at the last beat
	at      time.Time
	rate    float64 // events/s, smoothed over about five beats
}

func (w *Worker) newMember() *member {
	host, _ := os.Hostname()
	return &member{w: w, host: host, at: time.Now()}
}

func (m *member) row() partition.Member {
	s := m.w.Status()
	now := time.Now()
	if passed := now.Sub(m.at).Seconds(); passed > 0.1 {
		weight := 1 - math.Exp(-passed/5)
		m.rate += weight * (float64(s.EventsHandled-m.handled)/passed - m.rate)
		m.handled, m.at = s.EventsHandled, now
	}
	row := partition.Member{
		Instance: s.Instance, Label: s.Label, Static: m.w.cfg.static(), Index: m.w.cfg.WorkerIndex, Total: m.w.cfg.TotalWorkers,
		MaxPartitions: m.w.cfg.MaxPartitions, Avoids: map[string][]int{},
		Host: m.host, PID: os.Getpid(), Mode: s.Mode, States: map[string]string{},
		EventsHandled: s.EventsHandled, EventsPerSecond: m.rate, LastWake: s.LastWake,
	}
	for _, r := range m.w.runners {
		if avoided := r.avoided(); len(avoided) > 0 {
			row.Avoids[r.name] = avoided
		}
	}
	for name, state := range s.States {
		row.States[name] = string(state)
	}
	return row
}
