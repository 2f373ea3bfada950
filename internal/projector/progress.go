package projector

import (
	"context"
	"sync"
)

// progress is the position up to which a projection has handled everything in this worker. Any number of goroutines may
// wait for it.
type progress struct {
	mu      sync.Mutex    // protects the fields below
	to      int64         // written by the projector's goroutine; -1: not known yet
	err     error         // written by fail: the cause that stopped the projection
	changed chan struct{} // closed and replaced at every change; wait waits for it
}

// newProgress returns a progress that is not known yet.
func newProgress() *progress { return &progress{to: -1, changed: make(chan struct{})} }

// unknown takes the position back, until the first read has shown that the log agrees with the checkpoints.
func (p *progress) unknown() { p.advance(-1) }

// advance sets the position and wakes the waiting goroutines if it has changed.
func (p *progress) advance(to int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if to != p.to {
		p.to = to
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
	close(p.changed)
	p.changed = make(chan struct{})
}

// wait returns nil once everything up to position to has been handled, the error of fail if the projection is stopped,
// and the cause of ctx's end if that comes first.
func (p *progress) wait(ctx context.Context, to int64) error {
	for {
		p.mu.Lock()
		there, err, changed := p.to >= to, p.err, p.changed
		p.mu.Unlock()
		switch {
		case there:
			return nil
		case err != nil:
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
