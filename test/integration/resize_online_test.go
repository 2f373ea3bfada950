package integration_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/partition"
	"github.com/rouse-es/rouse/projection"
	"github.com/rouse-es/rouse/test/process"
)

// resize changes the number of partitions and wants it to be done.
func (s *stage) resize(name string, partitions int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	began := time.Now()
	from, err := projection.Resize(ctx, s.Pool, name, partitions)
	require.NoError(s.t, err)
	require.EqualValues(s.t, partitions, s.int("select count(*) from projection_checkpoints where projection_name = $1", name))
	s.t.Logf("%s from %d to %d in %v", name, from, partitions, time.Since(began).Round(time.Millisecond))
}

// TestResizeUnderLoad: from few partitions to many and back, several steps at once, while everybody writes and works.
func TestResizeUnderLoad(t *testing.T) {
	t.Parallel()
	for _, mode := range []struct {
		name  string
		total int // static workers; 0: elastic
	}{{"elastic", 0}, {"static", 3}} {
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, testdb.New(t))
			_, err := partition.Ensure(s.ctx, s.Pool, "single", 8)
			require.NoError(t, err)
			load := s.startLoad(s.pool(s.URL), 3, 5*time.Millisecond)
			for i := range 3 {
				label := fmt.Sprintf("%s-%d", mode.name, i)
				s.start(s.pool(s.URL), rouse.Config{
					Projections: []rouse.Projection{batchRecorder{recorder{name: "batched", worker: label}}, recorder{name: "single", worker: label}},
					Label:       label, WorkerIndex: i * min(mode.total, 1), TotalWorkers: mode.total, BatchSize: 30,
				}).WaitStarted()
			}
			for _, partitions := range []int{16, 64, 32, 1, 1024, 32} {
				s.resize("single", partitions)
				load.more(t, 30)
				if partitions == 16 || partitions == 1 {
					s.resize("batched", partitions)
				}
			}
			load.stop()
			s.exact("single")
			s.exact("batched")
		})
	}
}

// lone starts one worker with one projection, single, which is static if total is not 0.
func (s *stage) lone(label string, index, total int) *running {
	s.t.Helper()
	return s.start(s.pool(s.URL), rouse.Config{
		Projections: []rouse.Projection{recorder{name: "single", worker: label}},
		Label:       label, WorkerIndex: index, TotalWorkers: total, BatchSize: 30,
	})
}

// appendTo appends n events to an aggregate of each of some partitions, in turn, and returns the last position.
func (s *stage) appendTo(n, partitions int, among ...int) (last int64) {
	s.t.Helper()
	for range n {
		for _, p := range among {
			last = s.append(s.Pool, s.aggregateIn(p, partitions))
		}
	}
	return last
}

// awaitHandled waits until the event at a position has been handled.
func (s *stage) awaitHandled(position int64) {
	s.t.Helper()
	s.eventually(patience, "an event to be handled", "select exists (select from seen where global_position = $1)", position)
}

// TestNaiveJoinLosesOrDoubles: what comes of joining two partitions that stand at different positions, by hand. If the checker
// did not notice that, it would not notice a Resize that does it.
func TestNaiveJoinLosesOrDoubles(t *testing.T) {
	t.Parallel()
	for _, naive := range []struct {
		name, keep string
		want       func(f faults) bool
	}{
		{"the later checkpoint loses", "max", func(f faults) bool { return f.Lost > 0 && f.Doubled == 0 }},
		{"the earlier checkpoint doubles", "min", func(f faults) bool { return f.Lost == 0 && f.Doubled > 0 }},
	} {
		t.Run(naive.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, testdb.New(t))
			_, err := partition.Ensure(s.ctx, s.Pool, "single", 2)
			require.NoError(t, err)
			half := s.lone("half", 0, 2).WaitStarted() // partition 1 has no owner and stays behind
			s.awaitHandled(s.appendTo(5, 2, 1, 0))
			half.MustStop()
			require.EqualValues(t, 2, s.int("select count(distinct last_global_position) from projection_checkpoints"))

			keep := map[string]string{
				"max": "update projection_checkpoints set last_global_position = (select max(last_global_position) from projection_checkpoints)",
				"min": "update projection_checkpoints set last_global_position = (select min(last_global_position) from projection_checkpoints)",
			}
			s.exec(keep[naive.keep])
			s.exec("delete from projection_checkpoints where partition = 1")
			s.exec("update projections set partitions = 1")
			s.lone("whole", 0, 0).WaitStarted()
			s.caughtUp("single", patience)
			require.True(t, naive.want(s.faults("single")), "%+v", s.faults("single"))
		})
	}
}

// TestJoinWaitsForOwnersOnly: a partition that nobody owns is named, everything stays as it was and goes on; once its worker is
// there, it works.
func TestJoinWaitsForOwnersOnly(t *testing.T) {
	t.Parallel()
	s := newStage(t, testdb.New(t))
	_, err := partition.Ensure(s.ctx, s.Pool, "single", 4)
	require.NoError(t, err)
	s.lone("even", 0, 2).WaitStarted()
	s.awaitHandled(s.appendTo(3, 4, 1, 3, 0, 2))
	ctx, cancel := context.WithTimeout(s.ctx, 10*time.Second)
	defer cancel()
	_, err = projection.Resize(ctx, s.Pool, "single", 1)
	require.ErrorIs(t, err, projection.ErrUneven)
	require.ErrorContains(t, err, "nobody owns partitions 1, 3 (start the worker")
	require.EqualValues(t, 4, s.int("select partitions from projections"))

	s.awaitHandled(s.appendTo(1, 4, 0))
	s.lone("odd", 1, 2).WaitStarted()
	s.resize("single", 1)
	s.awaitHandled(s.appendTo(1, 4, 0, 1, 2, 3))
	s.exact("single")
	s.resize("single", 2) // the second worker, which had nothing to do, gets a part again
	s.eventually(patience, "both workers to own a partition", "select count(distinct owner) = 2 from projection_checkpoints where owner is not null")
	s.awaitHandled(s.appendTo(1, 4, 0, 1, 2, 3))
	s.exact("single")
}

func init() { roles["resizer"] = resizer }

// resizer is the main function of a process that changes the number of partitions to 1 and is given ten minutes for it.
func resizer() int {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	err := func() error {
		pool, err := pgxpool.New(ctx, os.Getenv(urlEnv))
		if err != nil {
			return err
		}
		defer pool.Close()
		_, err = projection.Resize(ctx, pool, "single", 1)
		return err
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// TestKilledResizeHoldsNobody: the owners wait at the barrier of a process that is dead (kill -9), and go on when it has run out.
func TestKilledResizeHoldsNobody(t *testing.T) {
	t.Parallel()
	s := newStage(t, testdb.New(t))
	_, err := partition.Ensure(s.ctx, s.Pool, "single", 2)
	require.NoError(t, err)
	s.lone("even", 0, 2).WaitStarted() // partition 1 has no owner, so the change never comes about
	s.awaitHandled(s.appendTo(3, 2, 1, 0))

	cmd := process.Command(t, "resizer", urlEnv+"="+s.URL)
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	s.eventually(patience, "the barrier", "select barrier > 0 from projections")
	// Until the worker has seen the barrier it may handle what comes.
	var held int64
	testdb.Eventually(t, patience, "an event to be held back", func() (bool, error) {
		held = s.append(s.Pool, s.aggregateIn(0, 2))
		pauseFor(s.ctx, 200*time.Millisecond)
		return s.int("select count(*) from seen where global_position = $1", held) == 0, nil
	})
	require.NoError(t, cmd.Process.Kill())
	s.awaitHandled(held)
	require.EqualValues(t, 1, s.int("select count(*) from projections where partitions = 2 and barrier_until < clock_timestamp()"))

	s.lone("odd", 1, 2).WaitStarted()
	s.resize("single", 1)
	s.exact("single")
}

// TestResizeStopsWhoInsistsOnANumber: a worker that was told the number of before stops and says so; it does not call the
// projection stopped, which others may go on with.
func TestResizeStopsWhoInsistsOnANumber(t *testing.T) {
	t.Parallel()
	s := newStage(t, testdb.New(t))
	insisting := s.start(s.pool(s.URL), rouse.Config{Projections: []rouse.Projection{recorder{name: "single"}}, Partitions: 8}).WaitStarted()
	easy := s.lone("easy", 0, 0).WaitStarted()
	s.awaitHandled(s.append(s.Pool, "a"))
	s.resize("single", 16)
	err := insisting.Wait()
	require.ErrorIs(t, err, partition.ErrMismatch)
	require.ErrorContains(t, err, "single is kept in 16, and 8 were asked for")
	easy.WaitState("single", rouse.StateLive)
	s.awaitHandled(s.append(s.Pool, "a"))
	s.exact("single")
	require.EqualValues(t, 1, s.int("select count(*) from projections where state = 'running'"))
}

// TestBarrierIsWhereOwnersStop: in the middle of what was read already, in idle partitions too, and also where the event at the
// barrier is not there any more; when it moves on or goes away, so do they.
func TestBarrierIsWhereOwnersStop(t *testing.T) {
	t.Parallel()
	s := newStage(t, testdb.New(t))
	_, err := partition.Ensure(s.ctx, s.Pool, "single", 64) // more partitions than events
	require.NoError(t, err)
	for n := range 40 {
		s.append(s.Pool, fmt.Sprintf("a%d", n))
	}
	s.exec("delete from events where global_position = 30")
	barrier := func(position int64) {
		t.Helper()
		s.exec(`update projections set barrier = $1, barrier_holder = '7a4f6a2e-0000-4000-8000-000000000001',
			barrier_until = clock_timestamp() + interval '1 hour'`, position)
		s.eventually(patience, "all checkpoints to be at the barrier",
			"select bool_and(last_global_position = $1) from projection_checkpoints", position)
		require.EqualValues(t, s.int("select count(*) from events where global_position <= $1", position), s.int("select count(*) from seen"))
	}
	s.exec("update projections set barrier = 20, barrier_holder = gen_random_uuid(), barrier_until = clock_timestamp() + interval '1 hour'")
	w := s.lone("one", 0, 0).WaitStarted()
	barrier(20)
	barrier(30)
	s.exec("update projections set barrier = null, barrier_holder = null, barrier_until = null")
	s.exact("single")
	require.EqualValues(t, 39, s.int("select count(*) from seen"))
	w.WaitState("single", rouse.StateLive)
}
