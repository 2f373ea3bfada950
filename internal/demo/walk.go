package demo

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/rouse-es/rouse/internal/process"
)

const (
	// pollEvery is how often the database is asked for what a step waits for.
	pollEvery = 50 * time.Millisecond

	// measureFor is how long shares are measured at least.
	measureFor = 500 * time.Millisecond

	// DefaultWalk is how long the walk takes if the demo has no end.
	DefaultWalk = 40 * time.Second

	// killEvery is how often a worker is killed after the walk in a demo without an end, and downFor how long it stays away.
	killEvery = 20 * time.Second
	downFor   = 2 * time.Second
)

// errEnded means that the demo was told to end, which is no failure.
var errEnded = errors.New("the demo has been told to end")

// walk goes through all steps, and then, in a demo without an end, kills a worker now and then until ctx ends.
func (s *show) walk(ctx context.Context) error {
	steps, length := stepsOf(s.Workers), s.Duration
	if length == 0 {
		length = DefaultWalk
	}
	unit := lengthOf(steps, length)
	end := s.began
	for _, st := range steps {
		if st.what == whatFrozen {
			if err := s.note("the next one is frozen for longer than its lease (--lease-ttl %s)", leaseTTL); err != nil {
				return err
			}
		}
		end = end.Add(time.Duration(st.weight * float64(unit)))
		r, err := s.play(ctx, st, end)
		if err != nil {
			return err
		}
		s.results = append(s.results, r)
	}
	if s.Workers > 1 && !process.CanFreeze {
		if err := s.note("no worker is frozen, this system cannot do that to a process"); err != nil {
			return err
		}
	}
	if s.Duration > 0 {
		_, err := s.wait(ctx, end, nil)
		return err
	}
	return s.goOn(ctx)
}

// goOn kills one worker after the other, until ctx ends. Of these steps only those that failed are kept.
func (s *show) goOn(ctx context.Context) error {
	if err := s.note("from now on a worker is killed every %s, until Ctrl+C", killEvery); err != nil {
		return err
	}
	for victim := 2 % s.Workers; ; victim = (victim + 1) % s.Workers {
		if _, err := s.wait(ctx, time.Now().Add(killEvery-downFor), nil); err != nil {
			return err
		}
		for i, st := range killSteps(victim, s.Workers) {
			r, err := s.play(ctx, st, time.Now().Add(time.Duration(1-i)*downFor))
			if err != nil {
				return err
			}
			s.slowest = later(s.slowest, r.TakeoverSeconds)
			if !r.Complete {
				s.results = append(s.results, r)
			}
		}
	}
}

// later is the greater of two, of which one may be nil.
func later(a, b *float64) *float64 {
	if a == nil || b != nil && *b > *a {
		return b
	}
	return a
}

// play does what a step is about, waits until that has led to what it should, and measures on until the step is to end.
func (s *show) play(ctx context.Context, st step, end time.Time) (StepResult, error) {
	label := workerLabel(st.worker)
	before, err := Look(context.Background(), s.pool)
	if err != nil {
		return StepResult{}, err
	}
	since, err := Now(context.Background(), s.pool)
	if err != nil {
		return StepResult{}, err
	}
	if err := st.act(s.fleet, st.worker); err != nil {
		return StepResult{}, err
	}
	if err := s.note("%s (pid %d) %s", label, s.fleet.workers[st.worker].PID(), said[st.what]); err != nil {
		return StepResult{}, err
	}
	r := StepResult{Worker: label, What: st.what, Workers: len(s.fleet.working())}
	if st.takeover > 0 {
		r.TakeoverLimit = secondsOf(st.takeover)
	}
	if err := s.await(ctx, st, &r, before, since); err != nil {
		return r, err
	}
	if err := s.note("%s", r.times()); err != nil {
		return r, err
	}
	return r, s.measure(ctx, st, &r, end)
}

// said is what a note says of what happens to a worker.
var said = map[string]string{
	whatStarts: "was started",
	whatJoins:  "was started and joins",
	whatKilled: "was killed with SIGKILL",
	whatBack:   "was started again",
	whatLeaves: "is told to stop in order",
	whatFrozen: "was frozen with SIGSTOP",
	whatThawed: "may go on, by SIGCONT",
}

// await waits until the partitions are as they should be and others have gone on with those of the worker, if they have to,
// but not longer than patience.
func (s *show) await(ctx context.Context, st step, r *StepResult, before Standing, since Mark) error {
	working := s.fleet.working()
	taken, appended := st.takeover == 0, false
	_, err := s.wait(ctx, time.Now().Add(s.Patience), func() (bool, error) {
		now, err := Look(context.Background(), s.pool)
		if err != nil {
			return false, err
		}
		r.ExpectedPartitions, r.Partitions = FairShares(len(now.Owners), len(working)), partitionsOf(now, working)
		if r.PlannedSeconds == nil && planned(now, working) {
			r.PlannedSeconds = secondsOf(now.At.Sub(since.At))
		}
		if !taken {
			t, err := TakenOver(context.Background(), s.pool, since, before, r.Worker)
			if err != nil {
				return false, err
			}
			if appended = t.Appended; t.First != nil {
				taken, r.TakeoverSeconds = true, secondsOf(t.First.Sub(since.At))
			}
		}
		return taken && r.PlannedSeconds != nil, nil
	})
	r.Complete = r.PlannedSeconds != nil && (taken || !appended)
	r.AsExpected = r.Complete && !r.late()
	return err
}

// partitionsOf is how many partitions each of some workers has, most first.
func partitionsOf(s Standing, labels []string) []int {
	counts := []int{}
	for _, label := range labels {
		counts = append(counts, len(s.Of(label)))
	}
	slices.SortFunc(counts, func(a, b int) int { return b - a })
	return counts
}

// planned reports whether these workers, and nobody else, share the partitions fairly. If there are no workers, nobody may have
// any.
func planned(s Standing, labels []string) bool {
	if len(labels) == 0 {
		return len(s.Of("")) == len(s.Owners)
	}
	return len(s.Owners) > 0 && slices.Equal(partitionsOf(s, labels), FairShares(len(s.Owners), len(labels)))
}

// measure waits for the end of a step, and counts what each worker has handled until then.
func (s *show) measure(ctx context.Context, st step, r *StepResult, end time.Time) error {
	if err := s.look(); err != nil {
		return err
	}
	from := s.sample.Handled
	if least := time.Now().Add(measureFor); st.shares && end.Before(least) {
		end = least
	}
	if _, err := s.wait(ctx, end, nil); err != nil || !st.shares {
		return err
	}
	if err := s.look(); err != nil {
		return err
	}
	var sum int64
	var handled []int64
	for _, label := range s.fleet.working() {
		n := s.sample.Handled[label] - from[label]
		handled = append(handled, n)
		sum += n
	}
	if sum == 0 {
		return nil
	}
	for _, n := range handled {
		r.SharesPercent = append(r.SharesPercent, 100*float64(n)/float64(sum))
	}
	expected := 100 / float64(len(handled))
	r.ExpectedPercent = &expected
	r.AsExpected = r.AsExpected && !r.sharesOff()
	return s.note("shares of the new events: %s, expected %.0f %% each", percents(r.SharesPercent), expected)
}

// wait goes on showing how things are until done says so or a time has come. If ctx ends before, it returns errEnded.
func (s *show) wait(ctx context.Context, until time.Time, done func() (bool, error)) (bool, error) {
	timer, poll := time.NewTimer(time.Until(until)), time.NewTicker(pollEvery)
	defer timer.Stop()
	defer poll.Stop()
	for {
		if done != nil {
			if is, err := done(); is || err != nil {
				return is, err
			}
		}
		select {
		case <-ctx.Done():
			return false, errEnded
		case c := <-s.fleet.failed:
			return false, s.failed(c)
		case <-timer.C:
			return false, nil
		case <-poll.C:
		}
		if time.Since(s.looked) >= lookEvery {
			if err := s.look(); err != nil {
				return false, err
			}
		}
	}
}

func secondsOf(t time.Duration) *float64 {
	s := t.Seconds()
	return &s
}
