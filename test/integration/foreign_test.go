package integration_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/testdb"
)

// picky is a recorder that wants one type of event.
type picky struct{ recorder }

func (picky) EventTypes() []string { return []string{"wanted"} }

// Checkpoints move along with a log in which nothing is for the projection, so that a restart does not read it all again; and
// no further than what was looked through.
func TestForeignEventsAreLeftBehind(t *testing.T) {
	t.Parallel()
	s := newStage(t, testdb.New(t))
	const foreign = 20_000
	flood := func() {
		s.exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
			select 'noise', gen_random_uuid(), 1, 'unwanted', '{}' from generate_series(1, $1::int)`, foreign)
	}
	cfg := rouse.Config{Projections: []rouse.Projection{picky{recorder{name: "picky"}}}}
	flood()
	w := s.start(s.pool(s.URL), cfg).WaitStarted()
	s.caughtUp("picky", patience)

	slow, position := s.open("a") // an event that is wanted, below others that are not
	_, err := slow.Exec(s.ctx, "update events set event_type = 'wanted' where global_position = $1", position)
	require.NoError(t, err)
	flood()
	testdb.Eventually(t, patience, "the checkpoints to come to the open append", func() (bool, error) {
		return s.int("select min(last_global_position) from projection_checkpoints") == position-1, nil
	})
	require.Equal(t, position-1, s.int("select max(last_global_position) from projection_checkpoints"), "and no further")
	require.NoError(t, slow.Commit(s.ctx))
	s.caughtUp("picky", patience)
	require.Equal(t, []int64{position}, s.handled("picky"))
	w.MustStop()

	pool, reads := s.watchedPool(s.URL)
	again := s.start(pool, cfg).WaitStarted()
	require.NoError(t, again.Drain(s.ctx))
	require.Less(t, reads.n.Load(), int64(10), "of the 40,000 behind the checkpoints none is read again")
	again.MustStop()
}
