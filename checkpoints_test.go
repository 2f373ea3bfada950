package rouse_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/report"
	"github.com/rouse-es/rouse/internal/testdb"
)

// While events come one after the other, what is written of checkpoints is what they move, and little beside it: partitions without
// events are not saved again and again. Nobody is told that these lag. Once no event comes any more, all follow.
func TestPartitionsWithoutEventsAreNotSavedWhileEventsCome(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for range 3 {
		worker := b.start(b.Pool, rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}}).WaitStarted()
		t.Cleanup(func() { _ = worker.Stop() })
	}
	atRest := func() (bool, error) {
		return b.int("select count(*) from projection_checkpoints where last_global_position < (select max(global_position) from events)") == 0, nil
	}
	b.append("event")
	testdb.Eventually(t, patience, "three workers to share", func() (bool, error) {
		return b.int("select count(distinct owner) from projection_checkpoints") == 3, nil
	})
	b.exec("create sequence updates minvalue 0 start 0")
	b.exec("create function count_update() returns trigger language plpgsql as $$ begin perform nextval('updates'); return null; end $$")
	b.exec("create trigger count_update after update on projection_checkpoints for each row execute function count_update()")

	// A round says nothing where the machine stood still in it for so long that the workers may have seen a pause.
	const events, still = 60, 600 * time.Millisecond
	round := func() (valid bool) {
		testdb.Eventually(t, patience, "all checkpoints to follow the last event", atRest)
		b.exec("select setval('updates', 0)")
		every := time.NewTicker(50 * time.Millisecond) // over several sweeps
		defer every.Stop()
		last, position := time.Now(), int64(0)
		for range events {
			<-every.C
			position = b.append("event")
			if time.Since(last) > still {
				return false
			}
			last = time.Now()
		}
		testdb.Eventually(t, patience, "all events to be handled", func() (bool, error) {
			return b.int("select count(*) from events") == b.int("select count(*) from done"), nil
		})
		updates := b.int("select last_value from updates")
		r, err := report.Read(b.ctx, b.Pool)
		require.NoError(t, err)
		if time.Since(last) > still {
			return false
		}
		require.LessOrEqual(t, float64(updates), 1.3*events, "updates of checkpoints by %d events", events)
		behind := 0
		for _, p := range r.Projections[0].Partitions {
			if p.Checkpoint < position {
				behind++
				require.Zero(t, p.LagEvents, "partition %d, which no event waits for", p.Partition)
				require.Zero(t, p.LagSeconds)
			}
		}
		require.Positive(t, behind, "else nothing was shown")
		return true
	}
	testdb.Eventually(t, patience, "a round in which the machine does not stand still", func() (bool, error) { return round(), nil })
	testdb.Eventually(t, patience, "all checkpoints to follow the last event", atRest)
}
