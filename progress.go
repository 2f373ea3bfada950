package rouse

import (
	"context"
	"sync"
)

// progress is how far a projection has come in this worker, and lets others wait for it.
type progress struct {
	mu      sync.Mutex    // protects the fields below
	to      int64         // -1: not known yet
	err     error         // why it comes no further
	changed chan struct{} // closed and replaced at every change
}

func (p *progress) init() { p.to, p.changed = -1, make(chan struct{}) }

// unknown takes back how far it has come, until the first read has shown that the log is what the checkpoints say.
func (p *progress) unknown() { p.advance(-1) }

func (p *progress) advance(to int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if to == p.to {
		return
	}
	p.to = to
	close(p.changed)
	p.changed = make(chan struct{})
}

// fail tells whoever waits that the projection is stopped.
func (p *progress) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
	close(p.changed)
	p.changed = make(chan struct{})
}

// wait returns when everything up to a position has been handled, the projection is stopped, or ctx is cancelled.
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
