package apply

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
)

// errRefused is what a handler returns of a service that is away.
var errRefused = errors.New("mail.example.com refuses")

// breakerTest is a breaker whose log is kept.
type breakerTest struct {
	*Breaker
	t       *testing.T
	log     bytes.Buffer
	changes int
	next    int64
}

func newBreakerTest(t *testing.T, cfg BreakerConfig) *breakerTest {
	b := &breakerTest{t: t}
	cfg.Log = zerolog.New(&b.log)
	cfg.Changed = func() { b.changes++ }
	b.Breaker = NewBreaker(cfg)
	return b
}

// event is the next event of an aggregate.
func (b *breakerTest) event(aggregate string) *eventstore.Event {
	b.next++
	return &eventstore.Event{GlobalPosition: b.next, AggregateType: "order", AggregateID: aggregate}
}

// fail fails an event of each aggregate for the first time.
func (b *breakerTest) fail(aggregates ...string) (rulings []ruling) {
	for _, aggregate := range aggregates {
		rulings = append(rulings, b.failed(b.event(aggregate), errRefused, true))
	}
	return rulings
}

// trial waits for the next trial, fails it with err (nil: it succeeds), and returns how long the wait was.
func (b *breakerTest) trial(err error) (waited time.Duration, v ruling) {
	waited = b.TrialIn()
	<-time.After(waited)
	b.beginTrial()
	defer b.endTrial()
	if err == nil {
		b.succeeded()
		return waited, counts
	}
	return waited, b.failed(b.event("trial"), err, true)
}

func (b *breakerTest) said(message string) int { return strings.Count(b.log.String(), message) }

func TestBreakerOpensAtARowOfAggregates(t *testing.T) {
	t.Parallel()
	five := []string{"a", "b", "c", "d", "e"}
	for _, test := range []struct {
		name string
		do   func(b *breakerTest) []ruling
		last ruling
		open bool
	}{
		{"FiveInARow", func(b *breakerTest) []ruling { return b.fail(five...) }, yields, true},
		{"Four", func(b *breakerTest) []ruling { return b.fail(five[:4]...) }, counts, false},
		{"OneAggregateAgainAndAgain", func(b *breakerTest) []ruling { return b.fail("a", "a", "b", "a", "b", "b") }, counts, false},
		{"ASuccessInBetween", func(b *breakerTest) []ruling {
			b.fail(five[:4]...)
			b.succeeded()
			return b.fail(five[:4]...)
		}, counts, false},
		{"EventsThatAreKnownToFail", func(b *breakerTest) (v []ruling) {
			for _, aggregate := range five {
				v = append(v, b.failed(b.event(aggregate), errRefused, false))
			}
			return v
		}, counts, false},
		{"PermanentErrors", func(b *breakerTest) (v []ruling) {
			for _, aggregate := range five {
				v = append(v, b.failed(b.event(aggregate), Permanent(errRefused), true))
			}
			return v
		}, counts, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := newBreakerTest(t, BreakerConfig{})
			rulings := test.do(b)
			for _, v := range rulings[:len(rulings)-1] {
				require.Equal(t, counts, v)
			}
			require.Equal(t, test.last, rulings[len(rulings)-1])
			require.Equal(t, test.open, b.Open())
			require.Equal(t, test.open, !b.mayTry())
			w, open := b.Waiting()
			require.Equal(t, test.open, open)
			if open {
				require.Equal(t, errRefused.Error(), w.For)
				require.Equal(t, 1, b.changes)
				require.Equal(t, 1, b.said("waiting for what the handler depends on:"))
			}
		})
	}
}

func TestUnavailableOpensTheBreakerAtOnceAndKeepsItsEventInPlace(t *testing.T) {
	t.Parallel()
	for _, inPlace := range []bool{false, true} {
		b := newBreakerTest(t, BreakerConfig{InPlace: inPlace})
		ev := b.event("a")
		require.Equal(t, stays, b.failed(ev, fmt.Errorf("send: %w", Unavailable(errRefused)), true))
		require.True(t, b.Open())
		w, _ := b.Waiting()
		require.Equal(t, "send: mail.example.com refuses", w.For)
		require.Equal(t, ev.GlobalPosition, b.beginTrial().position, "the trial is the same event")
		require.True(t, b.mayTry())
		require.Equal(t, stays, b.failed(ev, Unavailable(errRefused), true))
		b.endTrial()
		require.False(t, b.mayTry())
		require.Equal(t, ev.GlobalPosition, b.beginTrial().position)
		b.succeeded()
		b.endTrial()
		require.False(t, b.Open())
		require.Equal(t, 3, b.changes, "opened, a trial has failed, closed")
		require.Equal(t, 1, b.said("waiting has ended"))
	}
}

// The pauses double up to the longest, each shortened by a quarter at most.
func TestPausesBetweenTrialsGrow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBreakerTest(t, BreakerConfig{})
		b.failed(b.event("a"), Unavailable(errRefused), true)
		for _, longest := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 20 * time.Second, 20 * time.Second} {
			waited, v := b.trial(Unavailable(errRefused))
			require.Equal(t, stays, v)
			require.LessOrEqual(t, waited, longest)
			require.GreaterOrEqual(t, waited, longest*3/4)
		}
		b.trial(nil)
		require.False(t, b.Open())
		require.Zero(t, b.TrialIn())
		b.failed(b.event("a"), Unavailable(errRefused), true)
		require.LessOrEqual(t, b.TrialIn(), time.Second, "they begin anew")
	})
}

// A hundred bad events in a row are stepped over one by one, and the first success closes.
func TestTrialsStepOverBadEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBreakerTest(t, BreakerConfig{})
		b.fail("a", "b", "c", "d", "e")
		for range 100 {
			_, v := b.trial(errRefused)
			require.Equal(t, yields, v)
			require.Zero(t, b.kept, "none keeps its place")
		}
		w, _ := b.Waiting()
		require.Equal(t, 100, w.Trials)
		b.trial(nil)
		require.False(t, b.Open())
		require.Equal(t, []ruling{counts, counts, counts, counts, yields}, b.fail("a", "b", "c", "d", "e"), "the row begins anew")
	})
}

// What kept its place because of Unavailable and then fails otherwise is set aside, so that it does not hold the others up.
func TestTrialThatBlamesItsEventYields(t *testing.T) {
	t.Parallel()
	b := newBreakerTest(t, BreakerConfig{})
	ev := b.event("a")
	b.failed(ev, Unavailable(errRefused), true)
	b.beginTrial()
	require.Equal(t, yields, b.failed(ev, errRefused, true))
	b.endTrial()
	require.True(t, b.Open())
	require.Zero(t, b.beginTrial())
}

// An event that the handler says can never be handled tells nothing of the service: it counts, and the next trial follows at once.
func TestPermanentErrorOfATrialCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBreakerTest(t, BreakerConfig{})
		b.failed(b.event("a"), Unavailable(errRefused), true)
		_, v := b.trial(Permanent(errRefused))
		require.Equal(t, counts, v)
		require.True(t, b.Open())
		require.Zero(t, b.TrialIn())
	})
}

// Where failing events are not set aside, only the handler can say that it waits; one that blames the event again ends that.
func TestBreakerInPlaceOpensOnlyWhenTold(t *testing.T) {
	t.Parallel()
	b := newBreakerTest(t, BreakerConfig{InPlace: true})
	for _, v := range b.fail("a", "b", "c", "d", "e", "f", "g") {
		require.Equal(t, counts, v)
	}
	require.False(t, b.Open())
	ev := b.event("a")
	b.failed(ev, Unavailable(errRefused), true)
	b.beginTrial()
	require.Equal(t, counts, b.failed(ev, errRefused, true))
	b.endTrial()
	require.False(t, b.Open())
}

// Lanes that were under way when the breaker opened neither count nor close it.
func TestLanesUnderWayLeaveAnOpenBreakerAlone(t *testing.T) {
	t.Parallel()
	b := newBreakerTest(t, BreakerConfig{})
	first := b.event("a")
	b.failed(first, Unavailable(errRefused), true)
	in := b.TrialIn()
	require.Equal(t, stays, b.failed(b.event("b"), errRefused, true))
	require.Equal(t, stays, b.failed(b.event("c"), Unavailable(errRefused), true))
	b.succeeded()
	require.True(t, b.Open())
	require.InDelta(t, in, b.TrialIn(), float64(time.Second))
	require.Equal(t, first.GlobalPosition, b.beginTrial().position, "the first keeps its place")
	w, _ := b.Waiting()
	require.Zero(t, w.Trials)
}

// A trial that finds nothing out, because the worker stops or the database is away, is due again; one that finds no event ends
// the waiting.
func TestTrialWithoutAnOutcomeIsDueAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBreakerTest(t, BreakerConfig{})
		b.failed(b.event("a"), Unavailable(errRefused), true)
		<-time.After(b.TrialIn())
		b.beginTrial()
		b.endTrial()
		require.True(t, b.Open())
		require.False(t, b.mayTry())
		require.Zero(t, b.TrialIn())
		b.giveIn()
		require.False(t, b.Open())
		require.Equal(t, 2, b.changes)
		b.giveIn()
		require.Equal(t, 2, b.changes)
	})
}

// An outage of an hour is logged about sixty times, not at every trial.
func TestBreakerSaysEveryMinuteThatItWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBreakerTest(t, BreakerConfig{})
		began := time.Now()
		b.failed(b.event("a"), Unavailable(errRefused), true)
		for time.Since(began) < time.Hour {
			b.trial(Unavailable(fmt.Errorf("%w\x00 again", errRefused)))
		}
		require.InDelta(t, 52, b.said("still waiting"), 8)
		w, _ := b.Waiting()
		require.Equal(t, "mail.example.com refuses again", w.For, "the last error, cleaned")
		require.True(t, w.Since.Equal(began))
	})
}

func TestBreakerIsSafeForLanes(t *testing.T) {
	t.Parallel()
	b := newBreakerTest(t, BreakerConfig{})
	b.Breaker.log = zerolog.Nop()
	var wg sync.WaitGroup
	for lane := range 8 {
		wg.Go(func() {
			for i := range 200 {
				ev := eventstore.Event{GlobalPosition: int64(i), AggregateType: "order", AggregateID: fmt.Sprint(lane)}
				switch i % 3 {
				case 0:
					b.succeeded()
				case 1:
					b.failed(&ev, errRefused, true)
				default:
					b.mayTry()
					b.Waiting()
				}
			}
		})
	}
	wg.Wait()
}

func TestUnavailableOfNothingIsNothing(t *testing.T) {
	t.Parallel()
	require.NoError(t, Unavailable(nil))
	require.ErrorIs(t, Unavailable(errRefused), errRefused)
	require.True(t, isUnavailable(Unavailable(Permanent(errRefused))))
}
