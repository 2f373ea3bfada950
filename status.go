package rouse

import (
	"context"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/internal/pulse"
	"github.com/rouse-es/rouse/listener"
	"github.com/rouse-es/rouse/partition"
)

// Status describes a Worker at one moment.
type Status struct {
	Instance, Label string
	Mode            string             // quiet, torrent, polling or deaf
	States          map[string]State   // by name of the projection or effect
	EventsHandled   int64              // by all projections, since the worker started
	Waiting         map[string]Waiting // by name: the projections and effects that are StateWaiting
	LastWake        time.Time          // when an append last woke the worker; zero: none yet
	Listening       bool               // the listening connection stands, and a notification has lately come through it

	presencePIDs []uint32 // the server process of the listening connection, if that holds the presence lock
}

// Waiting says for what a projection waits.
type Waiting struct {
	For    string    // the last error, cut to 2000 bytes
	Since  time.Time // by this machine's clock
	Trials int       // tries of one event meanwhile, all in vain
}

// Status returns the present status. Before Run has checked the database, every projection is StateStarting and the
// mode is polling.
func (w *Worker) Status() Status {
	s := Status{Instance: w.instance, Label: w.cfg.Label, Mode: string(listener.Polling), States: map[string]State{}, Waiting: map[string]Waiting{}}
	for _, u := range w.units {
		s.States[u.name] = StateStarting
	}
	select {
	case <-w.ready:
	default:
		return s
	}
	for _, p := range append(w.shadows.projectors(), w.projectors...) {
		s.States[p.Name()] = State(p.State())
		s.EventsHandled += p.Handled()
		if waiting, is := p.Waiting(); is {
			s.Waiting[p.Name()] = Waiting(waiting)
		}
	}
	if w.listener != nil {
		state := w.listener.State()
		s.Mode, s.LastWake, s.Listening = string(state.Mode), state.LastWake, state.Proven
		if state.PID != 0 {
			s.presencePIDs = []uint32{state.PID}
		}
	}
	return s
}

// member fills in the worker's row in projection_workers. The goroutine of control alone calls row, so its fields need
// no mutex.
type member struct {
	w       *Worker
	host    string
	handled int64     // Status.EventsHandled at the last row
	at      time.Time // when that was
	rate    float64   // events/s, smoothed over about five beats
}

// newMember returns the member of w, whose rate begins at 0.
func (w *Worker) newMember() *member {
	host, _ := os.Hostname()
	return &member{w: w, host: host, at: time.Now()}
}

// count updates the event rate. handled may be less than before: what a shadow has handled is not counted any more once it has ended.
func (m *member) count(handled int64, now time.Time) {
	if passed := now.Sub(m.at).Seconds(); passed > 0.1 {
		weight := 1 - math.Exp(-passed/5)
		m.rate += weight * (float64(max(handled-m.handled, 0))/passed - m.rate)
		m.handled, m.at = handled, now
	}
}

// row returns the worker's row as of now, and updates the event rate.
func (m *member) row() partition.Member {
	s := m.w.Status()
	m.count(s.EventsHandled, time.Now())
	row := partition.Member{
		Instance: s.Instance, Label: s.Label, Static: m.w.cfg.static(), Index: m.w.cfg.WorkerIndex, Total: m.w.cfg.TotalWorkers,
		MaxPartitions: m.w.cfg.MaxPartitions, Avoids: map[string][]int{}, Troubles: map[string]partition.Trouble{},
		Host: m.host, PID: os.Getpid(), Mode: s.Mode, States: map[string]string{},
		EventsHandled: s.EventsHandled, EventsPerSecond: m.rate, LastWake: s.LastWake,
		PresencePIDs: s.presencePIDs, PushesMissed: m.w.pushesMissed.Load(),
	}
	for _, p := range m.w.taking() {
		row.States[p.Name()] = string(p.State())
		if avoided := p.Avoided(); len(avoided) > 0 {
			row.Avoids[p.Name()] = avoided
		}
		if trouble, is := p.Trouble(); is {
			row.Troubles[p.Name()] = trouble
		}
	}
	return row
}

// healthTimeout bounds the statement of Health.
const healthTimeout = 2 * time.Second

// Health is the result of Worker.Health: whether a worker works, as far as the worker itself can find out.
type Health struct {
	// Faults lists the parts that no longer run; empty: every part does. Only a new process mends them.
	Faults []string

	// Waits lists the conditions that the worker is not ready without; empty: every projection has caught up once, owns
	// the partitions that it should and can handle events, and the database answers on the control connection and in the pool.
	Waits []string
}

// Alive reports whether all loops run.
func (h Health) Alive() bool { return len(h.Faults) == 0 }

// Ready reports whether the worker is alive and waits for nothing.
func (h Health) Ready() bool { return len(h.Faults)+len(h.Waits) == 0 }

// Health checks every loop of the worker. It compares the positions of the readers with the last event in the table: a
// reader that sleeps although there is an event to read is woken, and if it has not read within 5 seconds, which a
// later call finds, it is a fault. Being behind, a paused or stopped projection and an unreachable database are no
// faults: a new process would not mend them. It takes one statement of at most 2 seconds; call it every few seconds.
func (w *Worker) Health(ctx context.Context) Health { return w.health(ctx, true) }

// health is Health, and without ask it sends no statement, and knows of no event that is not read.
func (w *Worker) health(ctx context.Context, ask bool) Health {
	var h Health
	select {
	case <-w.ended:
		h.fault("the worker has ended")
		return h
	default:
	}
	select {
	case <-w.ready:
	default:
		h.wait("the worker has not started")
		return h
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	var head int64 // no reader is behind position 0
	if ask {
		last, err := catchup.LastVisible(ctx, w.db, math.MaxInt64)
		if head = last.Position; err != nil {
			head = 0
			h.wait("%s", away(err))
		}
	}
	w.checkLoops(&h)
	readTo, stuck := w.source.Check(head)
	if stuck {
		h.fault("the reader of the log does not run: there are events up to position %d that it does not read", head)
	}
	for _, p := range w.projectors {
		faults, wait := p.Check(readTo)
		h.Faults = append(h.Faults, faults...)
		if wait != "" {
			h.wait("%s", wait)
		}
	}
	return h
}

// away returns what keeps the database from answering with err.
func away(err error) string {
	if db.IsStandby(err) {
		return "the database can only be read: it is a standby, or became one"
	}
	return "the database does not answer"
}

// fault adds a part that no longer runs.
func (h *Health) fault(format string, args ...any) {
	h.Faults = append(h.Faults, fmt.Sprintf(format, args...))
}

// wait adds a condition that the worker is not ready without.
func (h *Health) wait(format string, args ...any) {
	h.Waits = append(h.Waits, fmt.Sprintf(format, args...))
}

// checkLoops checks the goroutines of the control connection and of the listener.
func (w *Worker) checkLoops(h *Health) {
	if !w.control.Trusted() {
		h.wait("the control connection does not stand")
	}
	if w.group {
		return // which checks what its workers share
	}
	if time.Since(w.control.Ticked()) > pulse.TickerLimit {
		h.fault("the loop of the control connection does not run")
	}
	if w.listener != nil && time.Since(w.listener.Ticked()) > pulse.TickerLimit {
		h.fault("the loop of the listener does not run")
	}
}
