package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/process"
)

const (
	// SubjectCommand is the hidden command of rouse that runs Live or Through, so that what is measured of a process is not that of the
	// program that measures.
	SubjectCommand = "bench-subject"

	// SubjectName is how its connections call themselves.
	SubjectName = "rouse bench subject"

	subjectLabel = "subject"

	// subjectWithin is how long a subject may take until it has started and sleeps, and until it has handled what it was given.
	subjectWithin = 2 * time.Minute
)

// subjectLine is one line of what a subject says on standard output, as JSON. Only what is meant is set.
type subjectLine struct {
	Started  float64 `json:"started_seconds,omitempty"` // it has started, and that took so long
	Ready    bool    `json:"ready,omitempty"`           // it has handled what there was before
	Position int64   `json:"position,omitempty"`        // all projections have committed this event
	At       int64   `json:"at,omitempty"`              // then, in nanoseconds since 1970
	Handled  int64   `json:"handled,omitempty"`         // events of a history
	Seconds  float64 `json:"seconds,omitempty"`         // that they took
	PeakMiB  float64 `json:"peak_mib,omitempty"`        // of memory, from the start to now; it comes last
}

// many is one of many projections with the same work, each with rows of its own.
type many struct{ name string }

func (m many) Name() string { return m.name }

func (m many) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	_, err := tx.Exec(ctx, sqlCount, []string{m.name + " " + ev.AggregateID}, []int64{1})
	return err
}

func (m many) ApplyBatch(_ context.Context, batch *pgx.Batch, events []eventstore.Event) error {
	var t tally
	for _, ev := range events {
		t.add(m.name + " " + ev.AggregateID)
	}
	t.queue(batch)
	return nil
}

// subjectName is the name of the nth projection of Live.
func subjectName(n int) string { return fmt.Sprintf("bench_%04d", n) }

// Live runs a worker with so many projections until ctx ends. It says how long its start took, once it has handled what there is, and of each event when the last projection
// has committed it.
func Live(ctx context.Context, pool *pgxpool.Pool, projections int, out io.Writer, log zerolog.Logger) error {
	cfg := rouse.Config{Label: subjectLabel, Log: log}
	for i := range projections {
		cfg.Projections = append(cfg.Projections, many{subjectName(i)})
	}
	said := json.NewEncoder(out)
	var mu sync.Mutex // protects said and committed
	committed := map[int64]int{}
	cfg.Observer.Committed = func(_ string, events []eventstore.Event) {
		at := time.Now().UnixNano()
		mu.Lock()
		defer mu.Unlock()
		for i := range events {
			p := events[i].GlobalPosition
			if committed[p]++; committed[p] == projections {
				delete(committed, p)
				_ = said.Encode(subjectLine{Position: p, At: at}) // a parent that is gone tells by the end of standard input
			}
		}
	}
	began := time.Now()
	w, err := rouse.New(pool, cfg)
	if err != nil {
		return err
	}
	running, err := run(ctx, w)
	if err != nil {
		return err
	}
	took := time.Since(began)
	err = running.Drain(ctx)
	mu.Lock()
	err = errors.Join(err, said.Encode(subjectLine{Started: took.Seconds(), Ready: err == nil}))
	mu.Unlock()
	select {
	case <-ctx.Done():
	case <-running.ended:
	}
	err = errors.Join(err, running.stop())
	mu.Lock()
	defer mu.Unlock()
	return errors.Join(err, said.Encode(subjectLine{PeakMiB: ownPeakMiB()}))
}

// Through runs a projection that writes nothing over the log from its beginning to its end, and says how long that took, connections and
// claims included.
func Through(ctx context.Context, pool *pgxpool.Pool, name string, out io.Writer, log zerolog.Logger) error {
	began := time.Now()
	w, err := rouse.New(pool, rouse.Config{Label: subjectLabel, Log: log, Projections: []rouse.Projection{nothing{name}}})
	if err != nil {
		return err
	}
	running, err := run(ctx, w)
	if err != nil {
		return err
	}
	err = running.Drain(ctx)
	took := time.Since(began)
	if err = errors.Join(err, running.stop()); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(subjectLine{Handled: running.Status().EventsHandled, Seconds: took.Seconds(), PeakMiB: ownPeakMiB()})
}

// ownPeakMiB is the most memory that this process has had at a time; 0: this system does not tell.
func ownPeakMiB() float64 {
	kib, err := strconv.ParseFloat(strings.TrimSuffix(procValue("/proc/self/status", "VmHWM"), " kB"), 64)
	if err != nil {
		return 0
	}
	return kib / (1 << 10)
}

// subject is a process that runs Live or Through, and what it has said.
type subject struct {
	*process.Process

	mu      sync.Mutex // protects the fields below
	buffer  []byte
	said    subjectLine     // the last value of each field
	settled map[int64]int64 // when the last projection had committed an event, in nanoseconds since 1970, by position
	broken  error           // a line that is none
	changed chan struct{}   // closed and made anew when there is something new
}

// startSubject starts one. The caller waits for its end.
func (b *Bench) startSubject(ctx context.Context, program string, args ...string) (s *subject, err error) {
	s = &subject{settled: map[int64]int64{}, changed: make(chan struct{})}
	s.Process, err = b.startChildTo(ctx, s, program, append([]string{SubjectCommand}, args...)...)
	return s, err
}

// Write takes what the process has said.
func (s *subject) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buffer = append(s.buffer, p...)
	for {
		line, rest, whole := bytes.Cut(s.buffer, []byte("\n"))
		if !whole {
			break
		}
		var l subjectLine
		if err := json.Unmarshal(line, &l); err != nil {
			s.broken = fmt.Errorf("bench: a measured process has said %q: %w", line, err)
		}
		if s.buffer = rest; l.Position > 0 {
			s.settled[l.Position] = l.At
			continue
		}
		s.said.Ready = s.said.Ready || l.Ready
		s.said.Started, s.said.PeakMiB = max(s.said.Started, l.Started), max(s.said.PeakMiB, l.PeakMiB)
		s.said.Handled, s.said.Seconds = max(s.said.Handled, l.Handled), max(s.said.Seconds, l.Seconds)
	}
	close(s.changed)
	s.changed = make(chan struct{})
	return len(p), nil
}

// await waits until known is true of what was said.
func (s *subject) await(ctx context.Context, what string, known func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, subjectWithin)
	defer cancel()
	for {
		s.mu.Lock()
		done, broken, changed := known(), s.broken, s.changed
		s.mu.Unlock()
		if done || broken != nil {
			return broken
		}
		select {
		case <-changed:
		case <-s.Exited:
			_, err := ended(s.Process)
			return errors.Join(fmt.Errorf("%w: a measured process ended before %s", ErrUnhandled, what), err)
		case <-ctx.Done():
			return fmt.Errorf("bench: waiting for %s: %w", what, ctx.Err())
		}
	}
}

// heard returns what it has said so far.
func (s *subject) heard() subjectLine {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said
}

// end waits for the end of the process and returns what it has said.
func (s *subject) end() (subjectLine, error) {
	_, err := ended(s.Process)
	said := s.heard()
	return said, errors.Join(err, s.broken) // nobody writes it any more
}
