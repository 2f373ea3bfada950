package reliability_test

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// arm is one of the things that are compared.
type arm struct {
	name, order string // for people, and for the handlers
	calm        bool   // nobody appends to hostile aggregates
}

// arms are what is compared before the faults begin: how long events of aggregates without a bad event take from the commit
// of their append to the commit of their handling, while nobody is hostile, while the handlers fail, and while they hold and
// end processes too. In the first nobody appends to the others.
var arms = []arm{{"calm", peace, true}, {"failing", failing, false}, {"at war", war, false}}

const (
	// armTime is how long an arm takes at a time, and armRest how much of its beginning does not count, in which what the
	// arm before has left is done.
	armTime, armRest = 4 * time.Second, 1500 * time.Millisecond
	// armRate is how many events are appended per second meanwhile: few enough for the machine to be idle at times, because
	// otherwise it is the queue in front of the processors that is measured.
	armRate = 300
)

// stretch is a time in which one arm is measured.
type stretch struct {
	arm      string
	from, to time.Time
}

// measure lets the arms take turns, so that all of them meet the same machine, and begins the war for good. Without rounds
// it only begins the war.
func (a *arena) measure(writers *appenders) (stretches []stretch) {
	if a.hostile == nil {
		return nil
	}
	writers.perSecond.Store(armRate)
	for range a.form.rounds {
		for _, arm := range a.form.arms {
			writers.calm.Store(arm.calm)
			require.NoError(a.t, a.hostile.tell(arm.order))
			from := time.Now().Add(armRest)
			pause(a.t.Context(), armTime)
			stretches = append(stretches, stretch{arm.name, from, time.Now()})
		}
	}
	writers.calm.Store(false)
	writers.perSecond.Store(int64(a.form.perSecond))
	require.NoError(a.t, a.hostile.tell(war))
	return stretches
}

// latency is how long the events of an arm took.
type latency struct {
	Events int   `json:"events"`
	P50    int64 `json:"p50_ms"`
	P99    int64 `json:"p99_ms"`
	Max    int64 `json:"max_ms"`
}

// latencies are those of each arm.
func (a *arena) latencies(ctx context.Context, stretches []stretch) (map[string]latency, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	took := map[string][]int64{}
	for _, s := range stretches {
		err := forEach(ctx, a.db, "latencies", []any{s.from, s.to}, func(rows pgx.Rows) error {
			var aggregate string
			var ms int64
			err := rows.Scan(&aggregate, &ms)
			if !a.hostile.hostile(aggregate) {
				took[s.arm] = append(took[s.arm], ms)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	all := map[string]latency{}
	for arm, ms := range took {
		slices.Sort(ms)
		all[arm] = latency{len(ms), percentile(ms, 50), percentile(ms, 99), percentile(ms, 100)}
	}
	return all, nil
}
