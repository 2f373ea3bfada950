package rouse

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/parked"
)

// effects does events one after the other and saves what has been done: at the end of the batch, before a failing event is
// tried again, and when the worker has to stop.
func (s *session) effects(ctx, workCtx context.Context, events []eventstore.Event) error {
	saved := 0
	flush := func(n int) error {
		if n == saved {
			return nil
		}
		err := s.saving(events[saved:n], func(end ending) (int, error) { return n - saved, s.work.save(workCtx, end) })
		saved = n
		return err
	}
	for i, ev := range events {
		_, noted := s.attempts.of(ev)
		behind := s.aside.among(events[i : i+1])
		do := func() error {
			return s.observed(s.leased(workCtx, ev), events[i:i+1], func(ctx context.Context) error {
				return s.work.call(ctx, ev, func(ctx context.Context) error { return s.work.effect.Do(ctx, ev) })
			})
		}
		var err error
		if !noted && behind == nil {
			if err = do(); err == nil {
				if ctx.Err() != nil {
					return flush(i + 1)
				}
				continue
			}
		}
		if flushErr := flush(i); flushErr != nil {
			return flushErr
		}
		if err != nil && (workCtx.Err() != nil || isHung(err)) {
			return err
		}
		if err != nil {
			s.failed(events[i:i+1], err)
			s.setState(StateRetrying)
		}
		if gone, err := s.effect(ctx, workCtx, ev, behind, do); err != nil || !gone {
			return err
		}
		saved = i + 1
		if ctx.Err() != nil {
			return nil
		}
	}
	return flush(len(events))
}

// effect does one event that has failed before, or sets it aside if it belongs behind a parked one, and saves. gone is false if
// the worker has to stop before that.
func (s *session) effect(ctx, workCtx context.Context, ev eventstore.Event, behind parked.Set, do func() error) (gone bool, err error) {
	one := []eventstore.Event{ev}
	if behind != nil {
		err := s.saving(one, func(end ending) (int, error) { return 0, s.work.setAside(workCtx, ev, end, behind, &s.aside) })
		if !errors.Is(err, errFreed) {
			return err == nil, err
		}
	}
	err = s.retry(ctx, workCtx, ev, do)
	if err != nil || s.fence(ev).Floor >= ev.GlobalPosition { // given up, and saved with that
		return err == nil, err
	}
	return true, s.saving(one, func(end ending) (int, error) { return 1, s.work.save(workCtx, end) })
}

// retry tries one event again and again, with growing pauses, until it succeeds, the worker has to stop, or it has failed too
// often and is given up. Each try is written down before it is made, so that a process that dies of it has counted it. Failures
// that are not the handler's do not count, and end the session if the database is away.
func (s *session) retry(ctx, workCtx context.Context, ev eventstore.Event, try func() error) error {
	pauses := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(100*time.Millisecond),
		backoff.WithMaxInterval(10*time.Second),
		backoff.WithMultiplier(2),
		backoff.WithMaxElapsedTime(0), // Config.Retries decides
	)
	pauses.Reset()
	one := []eventstore.Event{ev}
	for {
		before, _ := s.attempts.of(ev)
		if before.skip {
			return s.giveUp(workCtx, ev, before.times, Skip, errSkipped)
		}
		if before.times > max(s.w.cfg.Retries, 0) {
			err := errDied
			if before.err != "" {
				err = errors.New(before.err)
			}
			return s.giveUp(workCtx, ev, before.times, s.work.onFailure, err)
		}
		if err := s.note(workCtx, one); err != nil {
			return err
		}
		err := try()
		if err == nil || workCtx.Err() != nil || isHung(err) {
			return err
		}
		pause := time.Millisecond
		switch {
		case isTransient(err):
			s.attempts.set(ev, before)
		case !blamesHandler(workCtx, err) && s.work.effect == nil:
			s.attempts.set(ev, before)
			return err
		default:
			s.failed(one, err)
			now := attempt{times: before.times + 1, err: reason(err)}
			s.attempts.set(ev, now)
			if isPermanent(err) || now.times > max(s.w.cfg.Retries, 0) {
				return s.giveUp(workCtx, ev, now.times, s.work.onFailure, err)
			}
			pause = pauses.NextBackOff()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// errSkipped is why an event is passed over that was not even tried.
var errSkipped = errors.New("somebody wanted it skipped")

// giveUp parks or skips an event that cannot be handled, or stops the projection because of it.
func (s *session) giveUp(ctx context.Context, ev eventstore.Event, times int, what OnFailure, cause error) error {
	one := []eventstore.Event{ev}
	if what == Stop {
		// A worker that is started anew tries anew.
		if _, err := s.w.pool.Exec(ctx, sqlAttemptsForget, s.name, []int64{ev.GlobalPosition}); err != nil {
			s.log.Warn().Err(err).Msg("cannot forget the attempts at the event that stops the projection")
		}
		return s.stoppedBy(ev, cause)
	}
	err := s.saving(one, func(end ending) (int, error) {
		if what == Park {
			setting := parked.Setting{Event: ev, Attempts: times, Error: reason(cause)}
			end.also = append(end.also, func(batch *pgx.Batch) { exec(parked.Park(batch, s.name, []parked.Setting{setting})) })
		}
		return 0, s.work.save(ctx, end)
	})
	if err != nil {
		return err
	}
	log := s.log.With().Int("attempts", times).Int64(keyPosition, ev.GlobalPosition).
		Str(keyAggregateType, ev.AggregateType).Str(keyAggregateID, ev.AggregateID).Logger()
	if what == Park {
		s.aside.add(ev)
		log.Error().Err(cause).Msg("an event is parked, because its handler cannot handle it; later events of its aggregate wait behind it (see rouse parked)")
	} else {
		log.Error().Err(cause).Msg("an event is skipped, because its handler cannot handle it, or because somebody asked for that")
	}
	s.w.cfg.Observer.gaveUp(s.name, ev, what, cause)
	return nil
}
