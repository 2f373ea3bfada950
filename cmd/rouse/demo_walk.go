package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/rouse-es/rouse/internal/demo"
)

const (
	// pollEvery is how often the database is asked for what a stage waits for.
	pollEvery = 50 * time.Millisecond

	// measureFor is how long shares are measured at least.
	measureFor = 500 * time.Millisecond

	// defaultWalk is how long the walk takes if the demo has no end.
	defaultWalk = 40 * time.Second

	// killEvery is how often a worker is killed after the walk in a demo without an end, and downFor how long it stays away.
	killEvery = 20 * time.Second
	downFor   = 2 * time.Second
)

// errEnded means that the demo was told to end, which is no failure.
var errEnded = errors.New("the demo has been told to end")

// walk goes through all stages, and then, in a demo without an end, kills a worker now and then until ctx ends.
func (d *demoRun) walk(ctx context.Context) error {
	stages, length := stagesOf(d.flags.workers), d.flags.duration
	if length == 0 {
		length = defaultWalk
	}
	unit := lengthOf(stages, length)
	end := d.began
	for _, s := range stages {
		if s.what == whatFrozen {
			if err := d.note("the next one is frozen for longer than its lease (--lease-ttl %s)", demoLeaseTTL); err != nil {
				return err
			}
		}
		end = end.Add(time.Duration(s.weight * float64(unit)))
		r, err := d.stage(ctx, s, end)
		if err != nil {
			return err
		}
		d.results = append(d.results, r)
	}
	if d.flags.workers > 1 && !canFreeze {
		if err := d.note("no worker is frozen, this system cannot do that to a process"); err != nil {
			return err
		}
	}
	if d.flags.duration > 0 {
		_, err := d.wait(ctx, end, nil)
		return err
	}
	return d.goOn(ctx)
}

// goOn kills one worker after the other, until ctx ends. Of these stages only those that failed are kept.
func (d *demoRun) goOn(ctx context.Context) error {
	if err := d.note("from now on a worker is killed every %s, until Ctrl+C", killEvery); err != nil {
		return err
	}
	for victim := 2 % d.flags.workers; ; victim = (victim + 1) % d.flags.workers {
		if _, err := d.wait(ctx, time.Now().Add(killEvery-downFor), nil); err != nil {
			return err
		}
		for i, s := range killStages(victim, d.flags.workers) {
			r, err := d.stage(ctx, s, time.Now().Add(time.Duration(1-i)*downFor))
			if err != nil {
				return err
			}
			d.slowest = later(d.slowest, r.TakeoverSeconds)
			if !r.Complete {
				d.results = append(d.results, r)
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

// stage does what a stage is about, waits until that has led to what it should, and measures on until the stage is to end.
func (d *demoRun) stage(ctx context.Context, s stage, end time.Time) (stageResult, error) {
	label := workerLabel(s.worker)
	before, err := demo.Look(context.Background(), d.pool)
	if err != nil {
		return stageResult{}, err
	}
	since, err := demo.Now(context.Background(), d.pool)
	if err != nil {
		return stageResult{}, err
	}
	if err := s.act(d.fleet, s.worker); err != nil {
		return stageResult{}, err
	}
	if err := d.note("%s (pid %d) %s", label, d.fleet.workers[s.worker].pid(), said[s.what]); err != nil {
		return stageResult{}, err
	}
	r := stageResult{Worker: label, What: s.what, Workers: len(d.fleet.working())}
	if s.takeover > 0 {
		r.TakeoverLimit = secondsOf(s.takeover)
	}
	if err := d.await(ctx, s, &r, before, since); err != nil {
		return r, err
	}
	if err := d.note("%s", r.times()); err != nil {
		return r, err
	}
	return r, d.measure(ctx, s, &r, end)
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
func (d *demoRun) await(ctx context.Context, s stage, r *stageResult, before demo.Standing, since demo.Mark) error {
	working := d.fleet.working()
	taken, appended := s.takeover == 0, false
	_, err := d.wait(ctx, time.Now().Add(d.flags.patience), func() (bool, error) {
		now, err := demo.Look(context.Background(), d.pool)
		if err != nil {
			return false, err
		}
		r.ExpectedPartitions, r.Partitions = fairShares(len(now.Owners), len(working)), partitionsOf(now, working)
		if r.PlannedSeconds == nil && planned(now, working) {
			r.PlannedSeconds = secondsOf(now.At.Sub(since.At))
		}
		if !taken {
			t, err := demo.TakenOver(context.Background(), d.pool, since, before, r.Worker)
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
func partitionsOf(s demo.Standing, labels []string) []int {
	counts := []int{}
	for _, label := range labels {
		counts = append(counts, len(s.Of(label)))
	}
	slices.SortFunc(counts, func(a, b int) int { return b - a })
	return counts
}

// planned tells whether these workers, and nobody else, share the partitions fairly. If there are no workers, nobody may have
// any.
func planned(s demo.Standing, labels []string) bool {
	if len(labels) == 0 {
		return len(s.Of("")) == len(s.Owners)
	}
	return len(s.Owners) > 0 && slices.Equal(partitionsOf(s, labels), fairShares(len(s.Owners), len(labels)))
}

// measure waits for the end of a stage, and counts what each worker has handled until then.
func (d *demoRun) measure(ctx context.Context, s stage, r *stageResult, end time.Time) error {
	if err := d.look(); err != nil {
		return err
	}
	from := d.sample.Handled
	if least := time.Now().Add(measureFor); s.shares && end.Before(least) {
		end = least
	}
	if _, err := d.wait(ctx, end, nil); err != nil || !s.shares {
		return err
	}
	if err := d.look(); err != nil {
		return err
	}
	var sum int64
	var handled []int64
	for _, label := range d.fleet.working() {
		n := d.sample.Handled[label] - from[label]
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
	return d.note("shares of the new events: %s, expected %.0f %% each", percents(r.SharesPercent), expected)
}

// wait goes on showing how things are until done says so or a time has come. If ctx ends before, it returns errEnded.
func (d *demoRun) wait(ctx context.Context, until time.Time, done func() (bool, error)) (bool, error) {
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
		case c := <-d.fleet.failed:
			return false, d.failed(c)
		case <-timer.C:
			return false, nil
		case <-poll.C:
		}
		if time.Since(d.looked) >= lookEvery {
			if err := d.look(); err != nil {
				return false, err
			}
		}
	}
}

func secondsOf(t time.Duration) *float64 {
	s := t.Seconds()
	return &s
}
