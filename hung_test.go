package rouse_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
)

// Handlers that hang in two lanes, and an event that stops the projection in a third: the partitions of both are given up, and the
// projection is stopped, with its other partitions.
func TestHungHandlersBesideAStopAreGivenUp(t *testing.T) {
	t.Parallel()
	b := setup(t)
	goOn := make(chan struct{})
	t.Cleanup(func() { close(goOn) })
	w := b.start(b.Pool, rouse.Config{
		OnFailure: rouse.Stop, Concurrency: 3, HandlerTimeout: time.Second,
		Projections: []rouse.Projection{projection{name: "p", hook: func(_ context.Context, _ pgx.Tx, ev eventstore.Event) error {
			if ev.Type == "hangs" {
				<-goOn
			}
			return rouse.Permanent(errBroken)
		}}, projection{name: "goes on"}},
	}).WaitStarted()
	// One batch, of three partitions, which are three lanes.
	b.exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 'thing', min(n::text), 1, case when row_number() over (order by hashtextextended(min(n::text) collate "C", 0) & 31) < 3 then 'hangs' else 'stops' end, '{}'
		from generate_series(1, 5000) n where hashtextextended(n::text collate "C", 0) & 31 in (3, 4, 5) group by hashtextextended(n::text collate "C", 0) & 31`)
	w.WaitState("p", rouse.StateStopped)
	hanging := "projection_name = 'p' and partition in (select slot & 31 from events where event_type = 'hangs')"
	require.EqualValues(t, 2, b.int("select count(*) from projection_checkpoints where owner is null and "+hanging))
	require.EqualValues(t, 30, b.int("select count(*) from projection_checkpoints where owner is not null and projection_name = 'p'"))
	require.EqualValues(t, 2, b.int("select count(*) from event_attempts a join events e using (global_position) where e.event_type = 'hangs'"))
}
