package rouse_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/parked"
)

// A checkpoint that a person sets back by hand while events are parked goes on: what is parked stays so, with its tries and error.
func TestCheckpointThatIsSetBackGoesOnOverParkedEvents(t *testing.T) {
	eachForm(t, func(t *testing.T, name string) {
		b := setup(t)
		k := &breakable{}
		k.broken.Store(true)
		w := b.start(b.Pool, b.forms(k.fail)[name]).WaitStarted()
		for v := 1; v <= 7; v++ {
			b.version("a", v)
		}
		b.version("b", 1)
		b.caughtUp("p")
		was := b.text("select string_agg(concat_ws(' ', global_position, attempts, last_error), ';' order by global_position) from parked_events")
		require.EqualValues(t, 3, b.int("select count(*) from parked_events"))

		b.exec("update projection_checkpoints set last_global_position = 4")
		b.version("c", 1)
		b.caughtUp("p")
		require.Equal(t, was, b.text("select string_agg(concat_ws(' ', global_position, attempts, last_error), ';' order by global_position) from parked_events"))
		require.EqualValues(t, []int64{1, 1}, b.versionsOf("p", "b"), "handled again")

		k.broken.Store(false)
		_, err := parked.Retry(b.ctx, b.Pool, parked.Filter{Projection: "p"})
		require.NoError(t, err)
		testdb.Eventually(t, patience, "what was parked to be handled", func() (bool, error) { return b.int("select count(*) from parked_events") == 0, nil })
		require.NoError(t, w.Stop())
		versions := b.versionsOf("p", "a")
		require.Equal(t, []int64{5, 6, 7}, versions[len(versions)-3:])
	})
}
