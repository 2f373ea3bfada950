package rouse

import (
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/partition"
)

// saving makes the end of the transaction of events, gives it to f, and takes note of it if f succeeds. f returns how many of
// the events were handled.
func (s *session) saving(events []eventstore.Event, f func(end ending) (int, error)) error {
	began := time.Now()
	touched := s.touched(events)
	to := events[len(events)-1].GlobalPosition
	end := ending{save: s.save(touched, to)}
	noted := s.attempts.among(events)
	if len(noted) > 0 {
		end.also = append(end.also, func(batch *pgx.Batch) { exec(batch.Queue(sqlAttemptsForget, s.name, noted)) })
	}
	handled, err := f(end)
	if err != nil {
		return s.lost(events, err)
	}
	for _, fence := range touched {
		fence.Floor = to
	}
	s.attempts.forget(noted)
	s.cleared(events)
	s.handled.Add(int64(handled))
	took := time.Since(began)
	s.w.cfg.Observer.handled(s.name, handled, took)
	if handled == len(events) {
		s.w.cfg.Observer.committed(s.name, events)
	}
	s.log.Debug().Int(keyEvents, handled).Int64(keyPosition, to).Float64(keyTookMS, float64(took.Microseconds())/1000).Msg("batch handled")
	return nil
}

// touched are the fences of the partitions that events are in.
func (s *session) touched(events []eventstore.Event) (touched []*catchup.Fence) {
	seen := make([]bool, s.partitions)
	for i := range events {
		if p := partition.Of(events[i].Slot, s.partitions); !seen[p] {
			seen[p] = true
			touched = append(touched, s.fences[p])
		}
	}
	return touched
}

// lost completes the error of a transaction that did not commit.
func (s *session) lost(events []eventstore.Event, err error) error {
	if errors.Is(err, catchup.ErrFenced) {
		s.w.cfg.Observer.fenced(s.name, len(events))
		err = fmt.Errorf("%w: %w", ErrLeaseLost, err)
	}
	var hung *hungError
	if errors.As(err, &hung) && hung.events == nil {
		hung.events = events
	}
	return err
}

func (s *session) save(fences []*catchup.Fence, to int64) catchup.Save {
	save := catchup.Save{Projection: s.name, Instance: s.w.instance, Token: s.token, To: to}
	for _, f := range fences {
		save.Fences = append(save.Fences, *f)
	}
	return save
}
