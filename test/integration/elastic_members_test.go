package integration_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/partition"
)

// smallPool is a pool that is just enough for one projection, as another process would have.
func (s *stage) smallPool() *pgxpool.Pool {
	pool, _ := s.watchedPool(s.URL, func(cfg *pgxpool.Config) { cfg.MaxConns = 2 })
	return pool
}

// owned is how many partitions each instance owns, the largest first.
func (s *stage) owned(projection string) (shares []int) {
	s.t.Helper()
	require.NoError(s.t, s.Pool.QueryRow(s.ctx, `select coalesce(array_agg(n order by n desc), '{}')
		from (select count(*)::int n from projection_checkpoints where projection_name = $1 and owner is not null group by owner) o`,
		projection).Scan(&shares))
	return shares
}

// Not parallel: so many workers need many connections, and the server of the tests has not got them twice.
func TestManyElasticWorkersStartedAtOnceShareEvenly(t *testing.T) {
	s := newStage(t, testdb.New(t))
	var workers []*running
	for i := range 16 {
		label := fmt.Sprintf("w%d", i)
		workers = append(workers, s.start(s.smallPool(), rouse.Config{
			Projections: []rouse.Projection{recorder{name: "r", worker: label}}, Label: label, PollOnly: true,
		}))
	}
	even := slices.Repeat([]int{2}, 16)
	testdb.Eventually(t, patience, "two partitions each", func() (bool, error) { return slices.Equal(s.owned("r"), even), nil })
	for i := range 200 {
		s.append(s.Pool, fmt.Sprintf("a%d", i))
	}
	for _, w := range workers {
		w.MustStop()
	}
	s.start(s.smallPool(), rouse.Config{Projections: []rouse.Projection{recorder{name: "r"}}, PollOnly: true}).WaitStarted()
	s.exact("r")
}

func TestElasticWorkersBeyondThePartitionsStandBy(t *testing.T) {
	s := newStage(t, testdb.New(t))
	var workers []*running
	for i := range 40 {
		workers = append(workers, s.start(s.smallPool(), rouse.Config{
			Projections: []rouse.Projection{recorder{name: "r"}}, Label: fmt.Sprintf("w%d", i), PollOnly: true,
		}))
	}
	idle := func() (n int) {
		for _, w := range workers {
			if w.Status().States["r"] == rouse.StateStandby {
				n++
			}
		}
		return n
	}
	one := slices.Repeat([]int{1}, 32)
	testdb.Eventually(t, patience, "a partition for each of 32, and 8 that say that they have none", func() (bool, error) {
		return slices.Equal(s.owned("r"), one) && idle() == 8, nil
	})
	var leaver *running
	for _, w := range workers {
		if w.Status().States["r"] != rouse.StateStandby {
			leaver = w
			break
		}
	}
	leaver.MustStop()
	testdb.Eventually(t, patience, "one of the eight to take over", func() (bool, error) {
		return slices.Equal(s.owned("r"), one) && s.int("select count(*) from projection_workers") == 39, nil
	})
}

func TestMaxPartitionsLeavesTheRestToOthers(t *testing.T) {
	t.Parallel()
	s := newStage(t, testdb.New(t))
	small := s.start(s.smallPool(), rouse.Config{Projections: []rouse.Projection{recorder{name: "r"}}, Label: "small", MaxPartitions: 5}).WaitStarted()
	require.Equal(t, []int{5}, s.owned("r"), "27 are nobody's")
	s.start(s.smallPool(), rouse.Config{Projections: []rouse.Projection{recorder{name: "r"}}, Label: "large"}).WaitStarted()
	testdb.Eventually(t, patience, "another one to take the rest", func() (bool, error) { return slices.Equal(s.owned("r"), []int{27, 5}), nil })
	small.MustStop()
	testdb.Eventually(t, patience, "all of them", func() (bool, error) { return slices.Equal(s.owned("r"), []int{32}), nil })
}

// The one that comes later has to go, whichever kind it is of.
func TestStaticAndElasticWorkersCannotShareAProjection(t *testing.T) {
	t.Parallel()
	static := func(name string) rouse.Config {
		return rouse.Config{Projections: []rouse.Projection{recorder{name: name}}, WorkerIndex: 0, TotalWorkers: 2, Label: "static-0"}
	}
	elastic := func(name string) rouse.Config {
		return rouse.Config{Projections: []rouse.Projection{recorder{name: name}}, Label: "elastic"}
	}
	for _, tc := range []struct {
		name          string
		first, second func(string) rouse.Config
		says          string
	}{
		{"elastic first", elastic, static, "start this one without TOTAL_WORKERS"},
		{"static first", static, elastic, "give this one a WORKER_ID and TOTAL_WORKERS too"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, testdb.New(t))
			first := s.start(s.smallPool(), tc.first("r")).WaitStarted()
			before := s.owned("r")
			err := s.start(s.smallPool(), tc.second("r")).Wait()
			require.ErrorIs(t, err, partition.ErrMixed)
			require.ErrorContains(t, err, tc.says)
			require.Equal(t, before, s.owned("r"))
			require.Zero(t, s.int("select count(*) from projections where state <> 'running'"), "the projection is not to blame")
			other := s.start(s.smallPool(), tc.second("another")).WaitStarted() // another projection is another matter
			other.MustStop()
			first.MustStop()
			s.start(s.smallPool(), tc.second("r")).WaitStarted() // and so is the same one, once the first kind is gone
		})
	}
}

// A projection that only some members run is shared by those.
func TestMembersShareTheProjectionsThatTheyRun(t *testing.T) {
	t.Parallel()
	s := newStage(t, testdb.New(t))
	both := []rouse.Projection{recorder{name: "one"}, recorder{name: "two"}}
	s.start(s.pool(s.URL), rouse.Config{Projections: both, Label: "both"}).WaitStarted()
	s.start(s.smallPool(), rouse.Config{Projections: both[:1], Label: "first only"}).WaitStarted()
	testdb.Eventually(t, patience, "shares", func() (bool, error) {
		return slices.Equal(s.owned("one"), []int{16, 16}) && slices.Equal(s.owned("two"), []int{32}), nil
	})
}

// A restart of the server takes everybody's sessions and heartbeats away. Nobody is taken for dead because of that.
func TestRestartOfTheServerMovesNoPartition(t *testing.T) {
	t.Parallel()
	server := testdb.Server(t, nil)
	s := newStage(t, testdb.On(t, server))
	for i := range 3 {
		s.start(s.pool(s.URL), rouse.Config{Projections: []rouse.Projection{recorder{name: "r"}}, Label: fmt.Sprintf("w%d", i), LeaseTTL: 10 * time.Second}).WaitStarted()
	}
	testdb.Eventually(t, patience, "even shares", func() (bool, error) { return slices.Equal(s.owned("r"), []int{11, 11, 10}), nil })
	owners := func() (o string) {
		require.NoError(t, s.Pool.QueryRow(s.ctx, "select string_agg(owner::text, ',' order by partition) from projection_checkpoints").Scan(&o))
		return o
	}
	before := owners()
	for _, stop := range []func() error{
		func() error { return server.Crash(s.ctx) },
		func() error { return server.Halt(s.ctx) },
	} {
		require.NoError(t, stop())
		require.NoError(t, server.Restart(s.ctx))
		s.Pool.Reset()
		s.append(s.Pool, "after")
		s.exact("r")
		require.Equal(t, before, owners())
	}
}
