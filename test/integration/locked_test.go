package integration_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/testdb"
)

// A transaction locks a checkpoint for longer than anything in the worker waits. The transaction is given up at its
// deadline, rolled back and done again; the log names what is waited for; and no event is blamed.
func TestStressLockedCheckpointBlamesNobody(t *testing.T) {
	t.Parallel()
	forms := map[string]rouse.Projection{"in batches": batchRecorder{recorder{name: "r"}}, "one by one": recorder{name: "r"}}
	for name, projection := range forms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, testdb.New(t))
			log := &journal{}
			s.start(s.pool(s.URL), rouse.Config{
				Projections: []rouse.Projection{projection}, Log: zerolog.New(log),
				Retry: rouse.RetryPolicy{Tries: 1}, HandlerTimeout: time.Second, // an event that is blamed once is parked
			}).WaitStarted()
			s.append(s.Pool, s.aggregateIn(7, 32))
			s.exact("r")

			holder := s.lockCheckpoint(7)
			s.append(s.Pool, s.aggregateIn(7, 32))
			testdb.Eventually(t, patience, "the log to name what is waited for", func() (bool, error) {
				return log.has("warn", "another session holds the checkpoints"), nil
			})
			for range 20 {
				s.append(s.Pool, s.aggregateIn(7, 32))
			}
			require.NoError(t, holder.Rollback(s.ctx))
			s.exact("r")
			require.Zero(t, s.int("select count(*) from parked_events"))
			require.Zero(t, s.int("select count(*) from event_attempts"))
		})
	}
}

// lockCheckpoint holds the row of a checkpoint until the returned transaction ends.
func (s *stage) lockCheckpoint(partition int) pgx.Tx {
	s.t.Helper()
	tx, err := s.Conn(s.t).Begin(s.ctx)
	require.NoError(s.t, err)
	_, err = tx.Exec(s.ctx, "select from projection_checkpoints where partition = $1 for update", partition)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = tx.Rollback(context.WithoutCancel(s.ctx)) })
	return tx
}
