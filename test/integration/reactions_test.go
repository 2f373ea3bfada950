package integration_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/signal"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/test/process"
)

func init() { roles["reaction-worker"] = reactionWorker }

const (
	reactionInvoices = 40
	reactionDeaths   = 3 // invoices at each of whose two reactions a worker dies

	// reactionEnv carries a reactionOrder to the worker's process.
	reactionEnv = "ROUSE_TEST_REACTION_WORKER"

	lineDying = "dying"
)

// reactionOrder is what a worker process is told.
type reactionOrder struct {
	URL    string
	Effect bool // react in an effect, with a transaction of one's own, as one should not
}

// reactionWorker is the main function of a worker process.
func reactionWorker() int {
	process.OutliveNobody()
	ctx, stop := signal.Context(context.Background())
	defer stop()
	if err := runReactionWorker(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func runReactionWorker(ctx context.Context) error {
	var order reactionOrder
	if err := json.Unmarshal([]byte(os.Getenv(reactionEnv)), &order); err != nil {
		return err
	}
	pool, err := pgxpool.New(ctx, order.URL)
	if err != nil {
		return errors.New("the URL of the database cannot be used")
	}
	defer pool.Close()
	r := reactions{pool: pool}
	cfg := rouse.Config{Log: zerolog.New(os.Stderr).With().Timestamp().Logger(), Retry: rouse.RetryPolicy{Pause: func(int) time.Duration { return 50 * time.Millisecond }}}
	if order.Effect {
		cfg.Effects = []rouse.Effect{effectReactions{r}}
	} else {
		cfg.Projections = []rouse.Projection{projectionReactions{r}}
	}
	w, err := rouse.New(pool, cfg)
	if err != nil {
		return err
	}
	return process.Work(ctx, w)
}

// reactions plan a reminder for each invoice, and send it at its time: each of the two is an event that is appended.
type reactions struct{ pool *pgxpool.Pool }

func (reactions) Name() string { return "reactions" }

func (reactions) EventTypes() []string { return []string{"InvoiceIssued", "ReminderPlanned"} }

func (reactions) StartFrom() rouse.Start { return rouse.Beginning }

// react appends what follows from ev. It expects nothing of the stream, so that a double is not refused but shows.
func (r reactions) react(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	follows, stream := "ReminderPlanned", eventstore.Stream{Type: "reminder", ID: ev.AggregateID}
	if ev.Type == "ReminderPlanned" {
		follows, stream.Type = "ReminderSent", "invoice"
		var plan struct {
			Due time.Time `json:"due"`
		}
		if err := json.Unmarshal(ev.Payload, &plan); err != nil {
			return err
		}
		if time.Now().Before(plan.Due) {
			return rouse.NotBefore(plan.Due)
		}
	}
	_, err := eventstore.Append(ctx, tx, stream, eventstore.Any(), eventstore.NewEvent{Type: follows, Payload: ev.Payload})
	return err
}

// dies has the test kill this process, once for each event that is to be died of.
func (r reactions) dies(ctx context.Context, ev eventstore.Event) error {
	tag, err := r.pool.Exec(ctx, "update deaths set died = true where invoice = $1 and event_type = $2 and not died", ev.AggregateID, ev.Type)
	if err == nil && tag.RowsAffected() == 1 {
		fmt.Println(lineDying)
		select {}
	}
	return err
}

// projectionReactions reacts in the transaction of the checkpoint.
type projectionReactions struct{ reactions }

func (r projectionReactions) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	if err := r.react(ctx, tx, ev); err != nil {
		return err
	}
	return r.dies(ctx, ev)
}

// effectReactions reacts in a transaction of its own, and the checkpoint follows later.
type effectReactions struct{ reactions }

func (r effectReactions) Do(ctx context.Context, ev eventstore.Event) error {
	if err := pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error { return r.react(ctx, tx, ev) }); err != nil {
		return err
	}
	return r.dies(ctx, ev)
}

// followUps runs workers of one kind, one after the other, each of which is killed while it has just appended, until every invoice has got
// its reminder. It returns how many events follow from the invoices beyond one of each kind.
func followUps(t *testing.T, effect bool) (doubled int64) {
	t.Helper()
	s := newStage(t, testdb.New(t))
	s.exec("create table deaths (invoice text, event_type text, died boolean not null default false, primary key (invoice, event_type))")
	s.exec(`insert into deaths select n::text, k from generate_series(1, $1::int) n, (values ('InvoiceIssued'), ('ReminderPlanned')) k (k)`, reactionDeaths)
	s.exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 'invoice', n::text, 1, 'InvoiceIssued', json_build_object('due', clock_timestamp() + interval '4 s') from generate_series(1, $1::int) n`, reactionInvoices)
	encoded, err := json.Marshal(reactionOrder{URL: s.URL, Effect: effect})
	require.NoError(t, err)
	for died := 0; died <= 2*reactionDeaths; died++ {
		dying := make(chan struct{}, 1)
		note := func(line string) {
			if line == lineDying {
				dying <- struct{}{}
			}
		}
		p, err := process.Start(t, process.Command(t, "reaction-worker", reactionEnv+"="+string(encoded)), fmt.Sprintf("worker-%d", died), process.Options{Note: note})
		require.NoError(t, err)
		if died < 2*reactionDeaths {
			select {
			case <-dying:
			case <-p.Exited:
				t.Fatalf("the worker has ended by itself: %s", p.Log)
			case <-s.ctx.Done():
				t.Fatalf("no worker dies: %s", p.Log)
			}
			p.Kill()
			continue
		}
		s.eventually(patience, "every invoice to have its reminder",
			"select count(distinct aggregate_id) = $1 from events where event_type = 'ReminderSent'", reactionInvoices)
		s.eventually(patience, "nothing to wait", "select not exists (select from parked_events) and not exists (select from event_attempts)")
		<-p.Started
		p.End(os.Interrupt)
		p.WantCleanExit()
	}
	early := s.int(`select count(*) from events r join events i on i.aggregate_type = 'invoice' and i.aggregate_id = r.aggregate_id and i.aggregate_version = 1
		where r.event_type = 'ReminderSent' and r.created_at < (i.payload::json ->> 'due')::timestamptz`)
	require.Zero(t, early, "reminders before their time")
	return s.int("select count(*) - 2 * $1 from events where event_type like 'Reminder%'", reactionInvoices)
}

// A projection that appends what follows from its events through its transaction appends it exactly once, and a deadline comes due exactly
// once, although a worker is killed behind each of some appends.
func TestProjectionAppendsWhatFollowsExactlyOnceThoughItsWorkersAreKilled(t *testing.T) {
	t.Parallel()
	require.Zero(t, followUps(t, false))
}

// The same in an effect, with a transaction of its own, doubles what its worker was killed behind; or the test above shows nothing.
func TestEffectThatAppendsInATransactionOfItsOwnDoubles(t *testing.T) {
	t.Parallel()
	require.GreaterOrEqual(t, followUps(t, true), int64(2*reactionDeaths))
}
