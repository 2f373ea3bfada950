package dashboard

import (
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/assert"

	"github.com/rouse-es/rouse/internal/report"
)

// TestALetterStaysWithItsWorker as long as it lives, and then goes to the next one.
func TestALetterStaysWithItsWorker(t *testing.T) {
	t.Parallel()
	workers := func(instances ...string) (list []report.Worker) {
		for _, instance := range instances {
			list = append(list, report.Worker{Instance: instance, Alive: instance[0] != '-'})
		}
		return list
	}
	l := letters{}
	l.update(workers("a", "b", "c"))
	assert.Equal(t, letters{"a": 0, "b": 1, "c": 2}, l)
	l.update(workers("-a", "b", "c"))
	assert.Equal(t, letters{"b": 1, "c": 2}, l)
	l.update(workers("0", "b", "c", "d"))
	assert.Equal(t, letters{"0": 0, "b": 1, "c": 2, "d": 3}, l)
}

func TestOnlySavesAreMeasured(t *testing.T) {
	t.Parallel()
	l, at := newLatency(), time.Now()
	key := partitionKey{"p", 0}
	see := func(checkpoint, epoch int64, seconds float64) {
		l.take(at, []reached{{key, standing{checkpoint, epoch}, seconds}})
		l.seen[key] = standing{checkpoint, epoch}
	}
	see(10, 1, 9) // nobody knows when
	assert.Nil(t, l.of("p"))
	see(10, 1, 9) // the same one
	see(10, 2, 9) // a claim
	see(20, 3, 9) // a save before a claim, dated by the claim
	assert.Nil(t, l.of("p"))
	for i := range int64(100) {
		see(21+i, 3, float64(i+1))
	}
	assert.Equal(t, &percentiles{P50: 50, P95: 95, P99: 99, Count: 100}, l.of("p"))
	l.take(at.Add(latencyFor+time.Second), nil)
	assert.Nil(t, l.of("p"), "it counts for a while")
}

func TestTheRateIsThatOfTheLastSeconds(t *testing.T) {
	t.Parallel()
	l := newLooker(nil, zerolog.Nop())
	assert.Zero(t, l.rate(point{0, 0}))
	assert.InDelta(t, 100, l.rate(point{1000, 100}), 0.01)
	assert.Zero(t, l.rate(point{60_000, 200}), "what is old is not counted")
	assert.InDelta(t, 50, l.rate(point{62_000, 300}), 0.01)
	assert.Zero(t, l.rate(point{63_000, 0}), "the log is another one")
}

func TestTheHistoryIsBoundedAndForgetsWhatIsGone(t *testing.T) {
	t.Parallel()
	l := newLooker(nil, zerolog.Nop())
	for second := range int64(1000) {
		l.remember(snapshot{At: second * 1000, Projections: []shownProjection{{Name: "p", Lag: second}}})
	}
	history := l.histories()["p"]
	assert.Len(t, history, 301)
	assert.Equal(t, point{999_000, 999}, history[300])
	l.remember(snapshot{At: 1_000_000})
	assert.Empty(t, l.histories())
}
