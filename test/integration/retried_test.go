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
	"github.com/rouse-es/rouse/parked"
	"github.com/rouse-es/rouse/test/process"
)

func init() { roles["trying worker"] = tryingWorker }

// formEnv is the form of a trying worker's handler.
const formEnv = "ROUSE_TEST_FORM"

// tryingForms are its values.
var tryingForms = []string{"ByEvent", "ByBatch", "Effect"}

// tryingWorker is the main function of a worker process that fails at events as the table "fails" says: "refuse" is permanent, "exit" ends
// the process, and "stumble" fails until the event was tried five times.
func tryingWorker() int {
	return workerProcess(func(pool *pgxpool.Pool) rouse.Config { return tryingConfig(pool, os.Getenv(formEnv)) })
}

func tryingConfig(pool *pgxpool.Pool, form string) rouse.Config {
	cfg := rouse.Config{Label: "trying", BatchSize: 40, Retry: rouse.RetryPolicy{Tries: 100, Pause: rouse.Doubling(10*time.Millisecond, 100*time.Millisecond)}}
	r := trying{recorder{name: "p", worker: "trying"}, pool}
	switch form {
	case "ByEvent":
		cfg.Projections = []rouse.Projection{r}
	case "ByBatch":
		cfg.Projections = []rouse.Projection{tryingBatch{r}}
	case "Effect":
		cfg.Effects = []rouse.Effect{tryingEffect{r}}
	}
	return cfg
}

// trying is the handler of a trying worker.
type trying struct {
	recorder
	pool *pgxpool.Pool // beside the transaction
}

func (r trying) fail(ctx context.Context, ev eventstore.Event) error {
	var how string
	var attempts int
	err := r.pool.QueryRow(ctx, `select coalesce((select how from fails where type = $1), ''),
		coalesce((select attempts from parked_events where global_position = $2), 0)`, ev.Type, ev.GlobalPosition).Scan(&how, &attempts)
	switch {
	case err != nil:
		return err
	case how == "exit":
		os.Exit(poisonExit)
	case how == "refuse":
		return rouse.Permanent(errStumble)
	case how == "stumble" && attempts < 6:
		return errStumble
	}
	return nil
}

func (r trying) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	if err := r.fail(ctx, ev); err != nil {
		return err
	}
	return r.recorder.Apply(ctx, tx, ev)
}

// tryingBatch is trying in the batch form.
type tryingBatch struct{ trying }

func (r tryingBatch) ApplyBatch(ctx context.Context, batch *pgx.Batch, events []eventstore.Event) error {
	for _, ev := range events {
		if err := r.fail(ctx, ev); err != nil {
			return err
		}
	}
	return batchRecorder{r.recorder}.ApplyBatch(ctx, batch, events)
}

// tryingEffect is trying as an effect.
type tryingEffect struct{ r trying }

func (e tryingEffect) Name() string { return e.r.name }

func (tryingEffect) StartFrom() rouse.Start { return rouse.Beginning }

func (e tryingEffect) Do(ctx context.Context, ev eventstore.Event) error {
	if err := e.r.fail(ctx, ev); err != nil {
		return err
	}
	_, err := e.r.pool.Exec(ctx, recordSQL, e.r.args(ev)...)
	return err
}

// tryer is a trying worker's process.
type tryer struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	ended chan error
}

// tries starts a trying worker.
func (s *stage) tries(form string) *tryer {
	s.t.Helper()
	p := &tryer{cmd: process.Command(s.t, "trying worker", urlEnv+"="+s.URL, formEnv+"="+form), ended: make(chan error, 1)}
	var err error
	p.stdin, err = p.cmd.StdinPipe()
	require.NoError(s.t, err)
	p.cmd.Stderr = os.Stderr
	require.NoError(s.t, p.cmd.Start())
	go func() { p.ended <- p.cmd.Wait() }()
	s.t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

func (s *stage) append2(id string, version int, eventType string) {
	s.t.Helper()
	s.exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values ('thing', $1, $2, $3, '{}')`, id, version, eventType)
}

// A parked event that is asked for again, and then kills its process, does so a few times only. Meanwhile and afterwards all others flow on,
// and the event is parked again, with those behind it.
func TestRetriedEventThatKillsItsProcessIsParkedAgain(t *testing.T) {
	t.Parallel()
	for _, form := range tryingForms {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, testdb.New(t))
			s.exec("create table fails (type text, how text)")
			s.exec("insert into fails values ('bad', 'refuse')")
			for v := 1; v <= 3; v++ {
				s.append2("bad", v, "bad")
				s.append2("good", v, "happened")
			}
			worker := s.tries(form)
			s.eventually(patience, "three to be parked", "select count(*) = 3 from parked_events where exists (select from seen)")
			s.exec("update fails set how = 'exit'")
			_, err := parked.Retry(s.ctx, s.Pool, parked.Filter{Projection: "p"})
			require.NoError(t, err)
			deaths := 0
			for done := false; !done; {
				testdb.Eventually(t, patience, "the process to die, or the event to be parked", func() (bool, error) {
					select {
					case err := <-worker.ended:
						require.Equal(t, poisonExit, worker.cmd.ProcessState.ExitCode(), "%v", err)
						deaths++
						worker = s.tries(form)
						return true, nil
					default:
						done = s.int("select count(*) from parked_events where due_at is not null") == 0
						return done, nil
					}
				})
				require.LessOrEqual(t, deaths, 6)
			}
			require.Positive(t, deaths)
			s.append2("good", 4, "happened")
			s.eventually(patience, "what is new to be handled", "select count(*) = 4 from seen")
			require.NoError(t, worker.stdin.Close())
			require.NoError(t, <-worker.ended)
			require.EqualValues(t, 3, s.int("select count(*) from parked_events"))
			require.Equal(t, "the process died, or was killed, each time while it handled this event",
				s.text("select last_error from parked_events where aggregate_version = 1"))
			require.Equal(t, faults{Lost: 3}, s.faults("p"))
			t.Logf("%d processes died of it", deaths)
		})
	}
}

// Workers are killed in the middle of whatever they do while events are being retried. Nothing is lost or out of order, nothing is parked
// for people, and a projection handles nothing twice; an effect only what was in hand.
func TestStressWorkersKilledWhileTheyRetry(t *testing.T) {
	t.Parallel()
	for _, form := range tryingForms {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, testdb.New(t))
			s.exec("create table fails (type text, how text)")
			s.exec("insert into fails values ('bad', 'stumble')")
			version := 0
			for range rounds() {
				worker := s.tries(form)
				began := s.int("select count(*) from seen")
				for range 10 {
					version++
					for a := range 5 {
						eventType := "happened"
						if (version+a)%7 == 0 {
							eventType = "bad"
						}
						s.append2(fmt.Sprint("a", a), version, eventType)
					}
				}
				s.eventually(patience, "it to have handled some", "select count(*) > $1 from seen", began+10)
				_ = worker.cmd.Process.Kill()
				<-worker.ended
			}
			s.exec("delete from fails")
			last := s.tries(form)
			s.eventually(patience, "all to be handled", "select (select count(distinct event_id) from seen) = (select count(*) from events)")
			s.eventually(patience, "nothing to be set aside", "select count(*) = 0 from parked_events")
			require.NoError(t, last.stdin.Close())
			require.NoError(t, <-last.ended)
			found := s.faults("p")
			if form == "Effect" {
				t.Logf("%d effects were done twice", found.Doubled)
				found.Doubled, found.Reordered = 0, 0
			}
			require.Equal(t, faults{}, found)
		})
	}
}
