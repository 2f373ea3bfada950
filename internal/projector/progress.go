package projector

import (
	"context"
	"math"
	"sync"
)

// progress is the position up to which a projection has handled everything in this worker. Any number of goroutines may
// wait for it.
type progress struct {
	mu      sync.Mutex    // protects the fields below
	to      int64         // written by the projector's goroutine; -1: not known yet
	of      claim         // under which to was reached; written with to
	err     error         // written by fail: the cause that stopped the projection
	changed chan struct{} // closed at the next change; nil: nobody waits
}

// newProgress returns a progress that is not known yet.
func newProgress() *progress { return &progress{to: -1} }

// unknown takes the position back, until the first read has shown that the log agrees with the checkpoints of a new claim.
func (p *progress) unknown(of claim) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.to, p.of = -1, of
	p.signal()
}

// advance sets the position and wakes the waiting goroutines if it has changed.
func (p *progress) advance(to int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if to != p.to {
		p.to = to
		p.signal()
	}
}

// nothing notes that no partition is owned, so that there is nothing to wait for.
func (p *progress) nothing() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.to != math.MaxInt64 || p.of.partitions != nil {
		p.to, p.of = math.MaxInt64, claim{}
		p.signal()
	}
}

// fail wakes the waiting goroutines with err, because the projection is stopped.
func (p *progress) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
	p.signal()
}

// signal wakes the waiting goroutines. The caller holds the mutex.
func (p *progress) signal() {
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

// waitFor returns a channel that is closed at the next change. The caller holds the mutex.
func (p *progress) waitFor() <-chan struct{} {
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	return p.changed
}

// wait returns once everything up to position to has been handled, with the claim under which it was, the error of fail if the
// projection is stopped, and the cause of ctx's end if that comes first.
func (p *progress) wait(ctx context.Context, to int64) (of claim, err error) {
	for {
		p.mu.Lock()
		there, of, err, changed := p.to >= to, p.of, p.err, p.waitFor()
		p.mu.Unlock()
		switch {
		case there:
			return of, nil
		case err != nil:
			return of, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return of, context.Cause(ctx)
		}
	}
}
