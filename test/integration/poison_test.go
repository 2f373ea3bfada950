package integration_test

import (
	"context"
	"fmt"
	"os"
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

func init() { roles["poisoned worker"] = poisonedWorker }

// poisonedWorker is the main function of a worker process that dies of events of type "poison".
func poisonedWorker() int {
	return workerProcess(func(*pgxpool.Pool) rouse.Config {
		return rouse.Config{Projections: []rouse.Projection{poisoned{recorder{name: "p", worker: "w"}}}, Label: "w", Retry: rouse.RetryPolicy{Tries: 3}}
	})
}

// poisonExit is how the process ends that has met a poisonous event.
const poisonExit = 42

type poisoned struct{ recorder }

func (p poisoned) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	if ev.Type == "poison" {
		os.Exit(poisonExit)
	}
	return p.recorder.Apply(ctx, tx, ev)
}

func (p poisoned) ApplyBatch(ctx context.Context, batch *pgx.Batch, events []eventstore.Event) error {
	for _, ev := range events {
		if ev.Type == "poison" {
			os.Exit(poisonExit)
		}
	}
	return batchRecorder(p).ApplyBatch(ctx, batch, events)
}

// An event that kills the process of its handler is found among others, tried as often as any other that fails, and parked.
// Every process is one that a supervisor has started again.
func TestEventThatKillsItsProcessIsParked(t *testing.T) {
	t.Parallel()
	s := newStage(t, testdb.New(t))
	for i := range 30 {
		s.append(s.Pool, fmt.Sprintf("a%d", i))
	}
	poison := s.int(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		values ('thing', 'bad', 1, 'poison', '{}') returning global_position`)
	for i := range 30 {
		s.append(s.Pool, fmt.Sprintf("b%d", i))
	}
	s.append(s.Pool, "bad")
	parked := func() int64 { return s.int("select count(*) from parked_events") }
	givenUp := func() bool {
		return s.int("select count(*) from parked_events where due_at is null and attempts > 0") > 0
	}
	deaths := 0
	for !givenUp() {
		cmd := process.Command(t, "poisoned worker", urlEnv+"="+s.URL)
		stdin, err := cmd.StdinPipe()
		require.NoError(t, err)
		cmd.Stderr = os.Stderr
		require.NoError(t, cmd.Start())
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		alive := true
		testdb.Eventually(t, patience, "the process to die, or the event to be parked", func() (bool, error) {
			select {
			case err := <-ended:
				alive = false
				require.Equal(t, poisonExit, cmd.ProcessState.ExitCode(), "%v", err)
				return true, nil
			default:
				return givenUp(), nil
			}
		})
		if alive {
			s.eventually(patience, "the rest to be handled", "select count(*) = 60 from seen")
			require.NoError(t, stdin.Close())
			require.NoError(t, <-ended)
			break
		}
		deaths++
		require.Less(t, deaths, 10)
	}
	require.EqualValues(t, 2, parked(), "the event, and what waits behind it")
	require.Equal(t, poison, s.int("select min(global_position) from parked_events"))
	require.EqualValues(t, 3, s.int("select max(attempts) from parked_events"))
	t.Logf("%d processes died of it", deaths)
	require.LessOrEqual(t, deaths, 5, "once unsuspected, once among suspects, and as often as it may be tried")
	require.Equal(t, faults{Lost: 2}, s.faults("p"))
}

// A handler that hangs, whichever worker has it, is tried as often as any other that fails. Then its event is parked.
func TestEventThatHangsEveryHandlerIsParked(t *testing.T) {
	t.Parallel()
	s := newStage(t, testdb.New(t))
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	for i := range 3 {
		label := fmt.Sprintf("w%d", i)
		s.start(s.pool(s.URL), rouse.Config{
			Projections: []rouse.Projection{recorder{name: "p", worker: label, hook: func(_ context.Context, _ pgx.Tx, ev eventstore.Event) error {
				if ev.Type == "hang" {
					<-release
				}
				return nil
			}}},
			Label: label, HandlerTimeout: 100 * time.Millisecond, Retry: rouse.RetryPolicy{Tries: 2}, StopTimeout: 100 * time.Millisecond,
		}).WaitStarted()
	}
	s.exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values ('thing', 'bad', 1, 'hang', '{}')`)
	s.append(s.Pool, "bad")
	s.append(s.Pool, "good")
	s.eventually(patience, "the event to be parked, and what comes behind it", "select count(*) = 2 from parked_events")
	s.eventually(patience, "the partitions to be owned", "select count(*) = 0 from projection_checkpoints where owner is null")
	s.append(s.Pool, "good")
	s.caughtUp("p", patience)
	require.Equal(t, faults{Lost: 2}, s.faults("p"))
}

// sluggish is a recorder of whole batches that cannot handle one type of event, and takes too long over another.
type sluggish struct{ recorder }

func (r sluggish) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	var batch pgx.Batch
	if err := r.ApplyBatch(ctx, &batch, []eventstore.Event{ev}); err != nil {
		return err
	}
	return tx.SendBatch(ctx, &batch).Close()
}

func (r sluggish) ApplyBatch(ctx context.Context, batch *pgx.Batch, events []eventstore.Event) error {
	for _, ev := range events {
		switch ev.Type {
		case "bad":
			return rouse.Permanent(errStumble)
		case "slow":
			batch.Queue("select pg_sleep(60)")
		}
	}
	return batchRecorder(r).ApplyBatch(ctx, batch, events)
}

// A batch that takes too long is its handler's fault also where it has events behind a parked one in it, which are sorted out
// first: the slow event is found, tried as often as any other, and parked, and the rest flows on.
func TestSlowBatchBehindAParkedEventIsParked(t *testing.T) {
	t.Parallel()
	s := newStage(t, testdb.New(t))
	s.start(s.pool(s.URL), rouse.Config{
		Projections: []rouse.Projection{sluggish{recorder{name: "p"}}}, HandlerTimeout: 200 * time.Millisecond, Retry: rouse.RetryPolicy{Tries: 1},
	}).WaitStarted()
	const insert = `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values `
	s.exec(insert + "('thing', 'x', 1, 'bad', '{}')")
	s.eventually(patience, "the event to be parked", "select count(*) = 1 from parked_events")
	s.exec(insert + "('thing', 'y', 1, 'slow', '{}'), ('thing', 'x', 2, 'happened', '{}'), ('thing', 'z', 1, 'happened', '{}')")
	s.caughtUp("p", patience)
	require.EqualValues(t, 3, s.int("select count(*) from parked_events"))
	require.Equal(t, faults{Lost: 3}, s.faults("p"))
}

// Parking commits with the checkpoint, asynchronously: a crash of the server loses both or none.
func TestParkingSurvivesCrashesOfTheServer(t *testing.T) {
	t.Parallel()
	s, server := onCrashServer(t)
	s.start(s.pool(s.URL), rouse.Config{
		Projections: []rouse.Projection{recorder{name: "p", hook: func(_ context.Context, _ pgx.Tx, ev eventstore.Event) error {
			if ev.Type == "bad" {
				return rouse.Permanent(errStumble)
			}
			return nil
		}}},
	}).WaitStarted()
	for round := range 3 {
		s.exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values ('thing', $1, 1, 'bad', '{}')`, fmt.Sprint("bad", round))
		s.append(s.Pool, fmt.Sprint("bad", round))
		s.append(s.Pool, "good")
		s.eventually(patience, "two more to be parked", "select count(*) = $1 from parked_events", 2*(round+1))
		s.crash(server)
		s.append(s.Pool, "good")
		s.caughtUp("p", patience)
		s.eventually(patience, "the same to be parked", "select count(*) = $1 from parked_events", 2*(round+1))
	}
	require.Equal(t, faults{Lost: 6}, s.faults("p"))
}
