package integration_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/projection"
)

// rebuilt is a recorder that can start over.
type rebuilt struct{ recorder }

func (r rebuilt) Reset(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, "delete from seen where projection = $1", r.name)
	return err
}

// A read model is built anew without an effect being done again. An effect itself is not started over, unless the operator insists.
func TestRebuildRepeatsNoEffect(t *testing.T) {
	t.Parallel()
	s := newStage(t, testdb.New(t))
	effect := &outside{done: map[string]int{}}
	w := s.start(s.pool(s.URL), rouse.Config{
		Projections: []rouse.Projection{rebuilt{recorder{name: "r"}}}, Effects: []rouse.Effect{effect},
	}).WaitStarted()
	for range 10 {
		s.append(s.Pool, "a")
	}
	s.exact("r")
	s.caughtUp("outside", patience)
	startOver := func(name string, force bool) {
		t.Helper()
		_, err := projection.Reset(s.ctx, s.Pool, name, 0, force)
		require.NoError(t, err)
		s.eventually(patience, name+" to be started over, or not", "select reset_to is null from projections where projection_name = $1", name)
		s.append(s.Pool, "a")
		s.exact("r")
		s.caughtUp("outside", patience)
	}
	times := func() (most int) {
		effect.mu.Lock()
		defer effect.mu.Unlock()
		for _, n := range effect.done {
			most = max(most, n)
		}
		return most
	}
	first := s.int("select min(n) from seen")
	startOver("r", false)
	require.Greater(t, s.int("select min(n) from seen"), first, "every row must be a new one, or nothing is shown")
	require.Equal(t, 1, times())
	startOver("outside", false)
	require.Equal(t, 1, times())
	require.EqualValues(t, 1, s.int("select count(*) from projections where projection_name = 'outside' and reset_error is not null"))
	startOver("outside", true)
	require.Equal(t, 2, times(), "somebody has insisted")
	s.doneOutside(effect)
	w.MustStop()
}
