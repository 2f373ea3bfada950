package integration_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
)

// Idle checkpoints are moved on about once a second. An event that is in its handler for longer than that is not idle: a
// checkpoint that passes it would make its own save fail, and then it would be behind the checkpoint for ever.
func TestIdleCheckpointsDoNotPassTheEventInTheHandler(t *testing.T) {
	t.Parallel()
	s := newStage(t, testdb.New(t))
	atWork := make(chan struct{}, 1)
	slow := func(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
		if ev.AggregateID != "slow" {
			return nil
		}
		select { // only the first time counts
		case atWork <- struct{}{}:
		default:
		}
		_, err := tx.Exec(ctx, "select pg_sleep(2)")
		return err
	}
	s.start(s.pool(s.URL), rouse.Config{Projections: []rouse.Projection{recorder{name: "r", hook: slow}}}).WaitStarted()
	s.append(s.Pool, "first")
	s.exact("r") // all partitions have come to rest
	in := s.append(s.Pool, "slow")
	<-atWork
	s.append(s.Pool, "first")
	require.Zero(t, s.int("select count(*) from projection_checkpoints where last_global_position >= $1", in))
	s.exact("r")
}
