package integration_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/testdb"
)

// The default of a database is made read-only for a while. Workers of both kinds, whose connections were opened meanwhile, go on
// through it, and no event is blamed.
func TestDatabaseThatIsReadOnlyForAWhile(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]rouse.Config{"elastic": {}, "static": {TotalWorkers: 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, testdb.New(t))
			cfg.Projections = []rouse.Projection{batchRecorder{recorder{name: "batched"}}, recorder{name: "single"}}
			cfg.LeaseTTL, cfg.Retry.Tries = time.Second, 1
			pool := s.pool(s.URL)
			w := s.start(pool, cfg).WaitStarted()
			s.append(s.Pool, "a")
			s.exact("batched")
			s.exact("single")

			writer := s.Conn(t) // goes on, for the setting is one of new sessions
			s.exec("alter database " + s.Name + " set default_transaction_read_only = on")
			s.exec(`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()
				and pid <> all (array[pg_backend_pid(), $1])`, int32(writer.PgConn().PID()))
			s.append(writer, "a")
			s.exact("batched") // the default is one of sessions, and the transactions of a worker say that they write
			s.exact("single")
			s.fill(pool)
			_, err := writer.Exec(s.ctx, "alter database "+s.Name+" reset default_transaction_read_only")
			require.NoError(t, err)
			s.Pool.Reset()
			s.exact("batched")
			s.exact("single")
			require.Zero(t, s.int("select count(*) from parked_events"))
			w.MustStop()
		})
	}
}

// fill opens as many connections of a pool as there can be.
func (s *stage) fill(pool *pgxpool.Pool) {
	s.t.Helper()
	for range pool.Config().MaxConns {
		conn, err := pool.Acquire(s.ctx)
		require.NoError(s.t, err)
		defer conn.Release()
	}
}
