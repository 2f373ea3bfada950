package projector

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// gated is an ask that says with what it was called, and goes on when it is told to.
type gated struct {
	asked chan []int
	goOn  chan error
}

func newGated() *gated { return &gated{asked: make(chan []int), goOn: make(chan error)} }

func (g *gated) ask(ctx context.Context, questions []int) ([]int, error) {
	select {
	case g.asked <- questions:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case err := <-g.goOn:
		return questions, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// questions waits until n questions wait for the next asking.
func questions(t *together[int, int], n int) {
	for {
		t.mu.Lock()
		there := 0
		if t.next != nil {
			there = len(t.next.questions)
		}
		t.mu.Unlock()
		if there == n {
			return
		}
	}
}

// Questions that come while an asking is under way are asked together, behind it, and each gets its own answer.
func TestTogether_AsksOnceForAllThatWait(t *testing.T) {
	t.Parallel()
	g := newGated()
	all := newTogether(askTimeout, g.ask)
	var wg sync.WaitGroup
	answer := func(question int) {
		wg.Go(func() {
			got, err := all.answer(t.Context(), question)
			require.NoError(t, err)
			require.Equal(t, question, got)
		})
	}
	answer(1)
	require.Equal(t, []int{1}, <-g.asked, "one that comes alone does not wait for others")
	for i := range 10 {
		answer(10 + i)
	}
	questions(all, 10)
	g.goOn <- nil
	require.Len(t, <-g.asked, 10)
	g.goOn <- nil
	wg.Wait()
	all.mu.Lock()
	defer all.mu.Unlock()
	require.Nil(t, all.next)
}

// One who leaves takes no answer from the others; the last one who leaves ends the asking.
func TestTogether_LivesAsLongAsSomebodyWaits(t *testing.T) {
	t.Parallel()
	g := newGated()
	all := newTogether(askTimeout, g.ask)
	results := make(chan error)
	ask := func() context.CancelFunc {
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _, err := all.answer(ctx, 1); results <- err }()
		return cancel
	}
	leaveFirst := ask()
	require.Len(t, <-g.asked, 1)
	leaveSecond, leaveThird := ask(), ask()
	defer leaveThird()
	questions(all, 2)
	leaveFirst()
	require.ErrorIs(t, <-results, context.Canceled)
	require.Len(t, <-g.asked, 2, "the asking that nobody waits for has ended, and the next has begun")
	leaveSecond()
	require.ErrorIs(t, <-results, context.Canceled)
	broken := errors.New("broken")
	g.goOn <- broken
	require.ErrorIs(t, <-results, broken, "the one who has stayed has its answer")
}

// What nobody waits for any more is not asked.
func TestTogether_AsksNothingThatNobodyWaitsFor(t *testing.T) {
	t.Parallel()
	g := newGated()
	all := newTogether(askTimeout, g.ask)
	results := make(chan error)
	go func() { _, err := all.answer(t.Context(), 1); results <- err }()
	require.Equal(t, []int{1}, <-g.asked)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { _, err := all.answer(ctx, 2); results <- err }()
	questions(all, 1)
	cancel()
	require.ErrorIs(t, <-results, context.Canceled)
	g.goOn <- nil
	require.NoError(t, <-results)
	go func() { _, err := all.answer(t.Context(), 3); results <- err }()
	require.Equal(t, []int{3}, <-g.asked)
	g.goOn <- nil
	require.NoError(t, <-results)
}
