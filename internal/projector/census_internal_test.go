package projector

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/internal/testdb"
)

// One position behind which the server looks for longer than there is time fails who has asked for it, and nobody else.
func TestCensus_APositionThatTakesTooLongFailsNoOther(t *testing.T) {
	t.Parallel()
	d := testdb.New(t)
	for _, sql := range []string{
		"insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) select 'thing', n::text, 1, 'e', '{}' from generate_series(1, 9) n",
		"alter table events rename to log",
		"create view events as select * from log where global_position <> 3 or pg_sleep(3600) is null",
	} {
		_, err := d.Pool.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	c := NewCensus(db.In(d.Pool, "public"), 0)
	c.visible.timeout = time.Second // of all together
	var all sync.WaitGroup
	found, errs := make([]catchup.Mark, 10), make([]error, 10)
	for position := int64(1); position < 10; position++ {
		ctx := t.Context()
		if position == 3 {
			short, cancel := context.WithTimeout(ctx, 3*time.Second)
			defer cancel()
			ctx = short
		}
		all.Go(func() { found[position], errs[position] = c.lastUpTo(ctx, position) })
	}
	all.Wait()
	for position := int64(1); position < 10; position++ {
		if position == 3 {
			require.ErrorIs(t, errs[position], context.DeadlineExceeded)
			continue
		}
		require.NoError(t, errs[position], position)
		require.Equal(t, position, found[position].Position)
	}
}
