package projector

import (
	"context"
	"sync"
	"time"
)

// together asks the database once for many projectors: the questions that come while an asking is under way wait for the next, so
// every answer was read after its question. A question that comes alone is asked at once. Its methods may be called by many
// goroutines.
//
// One goroutine asks for as long as there are questions. An asking ends early once nobody waits for it any more; the last one
// who leaves it waits for that.
type together[Q, A any] struct {
	ask     func(ctx context.Context, questions []Q) ([]A, error) // the answers, in the order of the questions
	timeout time.Duration                                         // of one asking

	mu     sync.Mutex    // protects the fields below, and those of the askings
	asking bool          // the goroutine runs
	next   *asking[Q, A] // that collects questions; nil: there are none
}

// asking is one go at the database.
type asking[Q, A any] struct {
	questions []Q
	waiting   int             // those who have not left
	begun     bool            // the goroutine has taken it up, and nobody else joins it
	ctx       context.Context //nolint:containedctx // of the ask, which no single one who waits may end
	cancel    context.CancelFunc
	done      chan struct{} // closed by the goroutine when the fields below are written; those who wait wait for it
	answers   []A
	err       error
}

// newTogether returns a together for ask, each call of which has timeout.
func newTogether[Q, A any](timeout time.Duration, ask func(ctx context.Context, questions []Q) ([]A, error)) *together[Q, A] {
	return &together[Q, A]{ask: ask, timeout: timeout}
}

// answer returns the answer to a question, or the error of its asking.
func (t *together[Q, A]) answer(ctx context.Context, question Q) (answer A, err error) {
	t.mu.Lock()
	if t.next == nil {
		t.next = &asking[Q, A]{done: make(chan struct{})}
		t.next.ctx, t.next.cancel = context.WithCancel(context.Background())
	}
	a := t.next
	mine := len(a.questions)
	a.questions = append(a.questions, question)
	a.waiting++
	if !t.asking {
		t.asking = true
		go t.run()
	}
	t.mu.Unlock()
	select {
	case <-a.done:
		if a.err != nil {
			return answer, a.err
		}
		return a.answers[mine], nil
	case <-ctx.Done():
	}
	if t.leave(a) {
		a.cancel()
		<-a.done
	}
	return answer, context.Cause(ctx)
}

// leave notes that one no longer waits for a. It reports whether that was the last one of an asking that is under way.
func (t *together[Q, A]) leave(a *asking[Q, A]) (last bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a.waiting--
	if a.waiting > 0 {
		return false
	}
	if !a.begun {
		t.next = nil
		a.cancel()
	}
	return a.begun
}

// run asks until there are no questions.
func (t *together[Q, A]) run() {
	for {
		t.mu.Lock()
		a := t.next
		t.next = nil
		t.asking = a != nil
		if a == nil {
			t.mu.Unlock()
			return
		}
		a.begun = true
		t.mu.Unlock()
		ctx, cancel := context.WithTimeout(a.ctx, t.timeout)
		a.answers, a.err = t.ask(ctx, a.questions)
		cancel()
		a.cancel()
		close(a.done)
	}
}
