package integration_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/test/process"
)

// The environment of a worker process.
const (
	urlEnv   = "ROUSE_TEST_WORKER_URL"
	labelEnv = "ROUSE_TEST_WORKER_LABEL"
)

func init() { roles["recording worker"] = recordingWorker }

// blockKey is the advisory lock that a handler waits for when it gets an event of type "block".
const blockKey = 4711

// block holds a handler up inside the database, for as long as the test holds the lock.
func block(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	if ev.Type != "block" {
		return nil
	}
	_, err := tx.Exec(ctx, "select pg_advisory_xact_lock($1)", blockKey)
	return err
}

// recordingWorker is the main function of a worker process with two projections, one of which can be blocked.
func recordingWorker() int {
	return workerProcess(func(*pgxpool.Pool) rouse.Config { return recordingConfig(os.Getenv(labelEnv)) })
}

// workerProcess runs the worker of a process, which ends when its standard input does, so it does not outlive the test.
func workerProcess(config func(pool *pgxpool.Pool) rouse.Config) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	err := func() error {
		pool, err := pgxpool.New(ctx, os.Getenv(urlEnv))
		if err != nil {
			return err
		}
		defer pool.Close()
		w, err := rouse.New(pool, config(pool))
		if err != nil {
			return err
		}
		return w.Run(ctx)
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func recordingConfig(label string) rouse.Config {
	return rouse.Config{
		Projections: []rouse.Projection{recorder{name: "single", worker: label, hook: block}, batchRecorder{recorder{name: "batched", worker: label}}},
		Label:       label, WorkerIndex: 0, TotalWorkers: 1, BatchSize: 40,
	}
}

// process starts a worker process and waits until it has claimed its partitions. The returned function kills it (kill -9).
func (s *stage) process(label string) (kill func()) {
	s.t.Helper()
	cmd := process.Command(s.t, "recording worker", urlEnv+"="+s.URL, labelEnv+"="+label)
	stdin, err := cmd.StdinPipe()
	require.NoError(s.t, err)
	cmd.Stderr = os.Stderr
	require.NoError(s.t, cmd.Start())
	killed := false
	kill = func() {
		if killed {
			return
		}
		killed = true
		_ = cmd.Process.Kill()
		var exit *exec.ExitError
		require.ErrorAs(s.t, cmd.Wait(), &exit, "it must not have ended by itself")
		_ = stdin.Close()
	}
	s.t.Cleanup(kill)
	s.eventually(patience, label+" to claim its partitions", `select count(*) = 64 from projection_checkpoints c
		join projection_workers w on w.instance_id = c.owner where w.label = $1`, label)
	return kill
}

// A worker process is killed in the middle of whatever it does, again and again under load, and its successor goes on.
func TestStressWorkersKilledUnderLoad(t *testing.T) {
	t.Parallel()
	s := newStage(t, testdb.New(t))
	load := s.startLoad(s.pool(s.URL), 4, 3*time.Millisecond)
	for round := range rounds() {
		kill := s.process(fmt.Sprintf("victim-%d", round))
		load.more(t, 100)
		kill()
	}
	load.stop()
	s.start(s.pool(s.URL), recordingConfig("last")).WaitStarted()
	s.exact("single")
	s.exact("batched")
}

// While a handler is in an event, no checkpoint of its projection may pass it, however idle the other partitions are. A lazy
// save to the end of the log would bury the event when the worker is killed.
func TestEventInTheHandlerIsNotPassedByIdleCheckpoints(t *testing.T) {
	t.Parallel()
	s := newStage(t, testdb.New(t))
	kill := s.process("victim")
	holder := s.Conn(t)
	_, err := holder.Exec(s.ctx, "select pg_advisory_lock($1)", blockKey)
	require.NoError(t, err)

	s.append(s.Pool, "before")
	blocked := s.int(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		values ('thing', 'blocked', 1, 'block', '{}') returning global_position`)
	s.eventually(patience, "the handler to be in the event", "select exists (select from pg_locks where objid = $1 and not granted)", blockKey)
	dead := s.int("select pid from pg_locks where objid = $1 and not granted", blockKey)
	for range 2 { // the other projection shows that idle checkpoints are moved on meanwhile
		s.append(s.Pool, "after")
		s.caughtUp("batched", patience)
	}
	passed := func() int64 {
		return s.int("select count(*) from projection_checkpoints where projection_name = 'single' and last_global_position >= $1", blocked)
	}
	require.Zero(t, passed())
	kill()
	require.Zero(t, passed())

	s.naiveLazySave(blocked)

	s.start(s.pool(s.URL), recordingConfig("successor")).WaitStarted()
	s.eventually(patience, "the event to come again", "select exists (select from pg_locks where objid = $1 and not granted and pid <> $2)", blockKey, dead)
	_, err = holder.Exec(s.ctx, "select pg_advisory_unlock($1)", blockKey)
	require.NoError(t, err)
	s.exact("single")
	s.exact("batched")
}

// naiveLazySave shows, in a transaction that is rolled back, what a lazy save to the end of the log does: it passes every
// fence, and nothing is left to be read.
func (s *stage) naiveLazySave(blocked int64) {
	s.t.Helper()
	tx, err := s.Pool.Begin(s.ctx)
	require.NoError(s.t, err)
	defer func() { require.NoError(s.t, tx.Rollback(s.ctx)) }()
	_, err = tx.Exec(s.ctx, `update projection_checkpoints set last_global_position = (select max(global_position) from events)
		where projection_name = 'single'`)
	require.NoError(s.t, err)
	var left int64
	require.NoError(s.t, tx.QueryRow(s.ctx, `select count(*) from events e join projection_checkpoints c
		on c.projection_name = 'single' and c.partition = e.slot & 31 and c.last_global_position < e.global_position
		where e.global_position = $1`, blocked).Scan(&left))
	require.Zero(s.t, left, "the naive save must bury the event, or nothing is shown")
}
