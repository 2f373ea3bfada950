package rousetest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/events"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/projection"
	"github.com/rouse-es/rouse/rousetest"
)

const showBalances = "select account, cents from balances order by account"

func TestScenario_ThenIsWhatTheHandlerWritesAndNothingStays(t *testing.T) {
	t.Parallel()
	db := rousetest.New(t, rousetest.Config{SQL: createBalances})
	for name, p := range map[string]rouse.Projection{"Projection": balances{"b"}, "Queuer": rouse.Batched(queued{})} {
		t.Run(name, func(t *testing.T) {
			rousetest.Given(t, db, p, deposited("a", "10").Events()...).
				When(deposited("a", "5").Events()...).
				When(deposited("b", "1").JSON("Noticed", "{}").Events()...).
				Then(showBalances, rousetest.Row{"a", 15}, rousetest.Row{"b", int32(1)}).
				Then("select count(*), max(global_position), sum(aggregate_version) from events", rousetest.Row{4, 4, "6"})
		})
	}
	db.Expect(t, showBalances)
	db.Expect(t, "select count(*) from events", rousetest.Row{0})
}

func TestScenario_FailsWithTheErrorOfAnEventOfWhen(t *testing.T) {
	t.Parallel()
	db := rousetest.New(t, rousetest.Config{SQL: createBalances + "; alter table balances add check (cents < 1000)"})
	withdrawn := rousetest.Stream("account", "a").JSON("Withdrawn", `{"cents": 11}`).Events()
	rousetest.Given(t, db, balances{"b"}, deposited("a", "10").Events()...).When(withdrawn...).Fails(errOverdrawn)
	rousetest.Given(t, db, balances{"b"}).When(deposited("a", "1000").Events()...).Fails(nil)

	for says, f := range map[string]func(t testing.TB){
		"was to fail": func(t testing.TB) {
			rousetest.Given(t, db, balances{"b"}).When(deposited("a", "1").Events()...).Fails(nil)
		},
		"an event of Given has failed: Withdrawn of account/a": func(t testing.TB) { rousetest.Given(t, db, balances{"b"}, withdrawn...).Fails(errOverdrawn) },
		"was to fail with \"context canceled\"":                func(t testing.TB) { rousetest.Given(t, db, balances{"b"}).When(withdrawn...).Fails(context.Canceled) },
		"an event of When has failed":                          func(t testing.TB) { rousetest.Given(t, db, balances{"b"}).When(withdrawn...).Then(showBalances) },
		"neither Then nor Fails":                               func(t testing.TB) { rousetest.Given(t, db, balances{"b"}).When(withdrawn...) },
		"want:\n  a | 2\ngot:\n  a | 1\n": func(t testing.TB) {
			rousetest.Given(t, db, balances{"b"}).When(deposited("a", "1").Events()...).Then(showBalances, rousetest.Row{"a", 2})
		},
	} {
		r := testdb.Record(t, f)
		require.Len(t, r.Failures, 1, says)
		require.Contains(t, r.Failures[0], says)
	}
}

// A constraint that is checked at the commit must not be passed over because there is none.
func TestScenario_ChecksWhatACommitWouldCheck(t *testing.T) {
	t.Parallel()
	db := rousetest.New(t, rousetest.Config{SQL: createBalances + "; create table accounts (id text primary key); alter table balances add foreign key (account) references accounts deferrable initially deferred"})
	r := testdb.Record(t, func(t testing.TB) {
		rousetest.Given(t, db, balances{"b"}).When(deposited("a", "1").Events()...).Then(showBalances, rousetest.Row{"a", 1})
	})
	require.Len(t, r.Failures, 1)
	require.Contains(t, r.Failures[0], "foreign key")
}

// manager reads the stream of its event, and appends to another one.
type manager struct{ seen []eventstore.Event }

func (*manager) Name() string { return "manager" }
func (m *manager) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	history, err := eventstore.ReadStream(ctx, tx, ev.Stream(), eventstore.ReadOptions{ToVersion: ev.AggregateVersion})
	if err != nil {
		return err
	}
	m.seen = append(m.seen, ev)
	_, err = eventstore.Append(ctx, tx, eventstore.Stream{Type: "reminder", ID: ev.AggregateID}, eventstore.Any(),
		eventstore.NewEvent{Type: "Reminded", Payload: json.RawMessage(fmt.Sprintf(`{"of": %d}`, len(history)))})
	return err
}

func TestScenario_TheLogOfTheTransactionHasTheEvents(t *testing.T) {
	t.Parallel()
	db := rousetest.New(t, rousetest.Config{})
	db.Append(t, eventstore.Stream{Type: "account", ID: "a"}, eventstore.NewEvent{Type: "Opened", Payload: json.RawMessage(`{}`)})
	var m manager
	for range 2 { // the second finds everything as the first did
		m.seen = nil
		rousetest.Given(t, db, &m).When(deposited("a", "1").JSON("Closed", "{}").Events()...).
			Then("select payload::text, aggregate_version from events where event_type = 'Reminded' order by global_position",
				rousetest.Row{`{"of": 2}`, 1}, rousetest.Row{`{"of": 3}`, 2})
		require.Len(t, m.seen, 2)
		require.Equal(t, []int64{2, 3}, []int64{m.seen[0].AggregateVersion, m.seen[1].AggregateVersion}, "behind what is in the log")
		require.NotZero(t, m.seen[0].Slot)
		require.Equal(t, m.seen[0].GlobalPosition+1, m.seen[1].GlobalPosition)
	}
	db.Append(t, eventstore.Stream{Type: "account", ID: "a"}, eventstore.NewEvent{Type: "Closed", Payload: json.RawMessage(`{}`)})
}

func TestBuilder_EventsAreCompleteAndTheSameInEachRun(t *testing.T) {
	t.Parallel()
	build := func() []eventstore.Event {
		return rousetest.Stream("account", "a").JSON("Opened", `{}`).
			At(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)).Metadata(`{"by": "me"}`).
			After(7).Add(eventstore.NewEvent{Type: "Closed", Version: 3, Payload: json.RawMessage(`{}`)}).Events()
	}
	events := build()
	require.Equal(t, events, build())
	require.NotEqual(t, events[0].ID, events[1].ID)
	require.Equal(t, []int64{1, 8}, []int64{events[0].AggregateVersion, events[1].AggregateVersion})
	require.Equal(t, []int64{1, 2}, []int64{events[0].GlobalPosition, events[1].GlobalPosition})
	require.Equal(t, "2026-01-02 03:04:05 +0000 UTC", events[1].CreatedAt.String())
	require.JSONEq(t, `{"by": "me"}`, string(events[1].Metadata))
	require.Equal(t, 3, events[1].Version)
	for says, f := range map[string]func(){
		"the metadata of account/a is not valid JSON":                         func() { rousetest.Stream("account", "a").Metadata("{") },
		"an event of account/a has no type, or its payload is not valid JSON": func() { rousetest.Stream("account", "a").JSON("Opened", "{") },
		"an event of account/a: events: not registered":                       func() { rousetest.Stream("account", "a").Add(1) },
	} {
		func() {
			defer func() { require.Contains(t, recover(), says) }()
			f()
		}()
	}
}

func TestRow_ComparesWhatPeopleMean(t *testing.T) {
	t.Parallel()
	db := rousetest.New(t, rousetest.Config{})
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.FixedZone("", 3600))
	sql := `select 1::smallint, 12.50::numeric, 0.5::float8, true, null::text, '{"b": [1], "a": null}'::jsonb, '2026-01-02 02:04:05.000006Z'::timestamptz,
		'0190d7a0-0000-7000-8000-000000000001'::uuid, 'x'::text, array[1, 2], '\x0a'::bytea, '1 day'::interval, 'b'::"char"`
	want := rousetest.Row{1, 12.5, 0.5, true, nil, json.RawMessage(`{"a":null, "b":[1]}`), at, "0190d7a0-0000-7000-8000-000000000001", "x", []int{1, 2}, []byte{10}, nil, nil}
	db.Expect(t, "select a, b from (values (12.50::numeric, '12.50')) v (a, b)", rousetest.Row{"12.50", "12.50"})
	sql = sql[:len(sql)-len(", '1 day'::interval, 'b'::\"char\"")]
	want = want[:len(want)-2]
	db.Expect(t, sql, want)
	for i, other := range []any{2, 12.51, 0.25, false, "", json.RawMessage(`{}`), at.Add(time.Second), "0190d7a0-0000-7000-8000-000000000002", "y", []int{2, 1}, []byte{11}} {
		r := testdb.Record(t, func(t testing.TB) {
			wrong := append(rousetest.Row(nil), want...)
			wrong[i] = other
			db.Expect(t, sql, wrong)
		})
		require.Len(t, r.Failures, 1, "%v", other)
	}
	r := testdb.Record(t, func(t testing.TB) { db.Expect(t, "select 'text' where false", rousetest.Row{"text"}) })
	require.Equal(t, []string{"rousetest: select 'text' where false\nwant:\n  text\ngot:\n  (no rows)\n"}, r.Failures)
}

// Paid and Refunded are registered, and invoices is made of handlers for them.
type (
	Paid     struct{ Cents int }
	Refunded struct{ Cents int }
)

var (
	_ = events.Register[Paid]("Paid", 1)
	_ = events.Register[Refunded]("Refunded", 1)

	invoices = projection.New("invoices",
		projection.Queue(func(b *pgx.Batch, e Paid, ev eventstore.Event) error {
			b.Queue(`insert into balances values ($1, $2) on conflict (account) do update set cents = balances.cents + excluded.cents`, ev.AggregateID, e.Cents)
			return nil
		}),
		projection.Tables("balances"))
)

// What is made of typed handlers has methods for everything and counts as what it was given options for.
func TestScenario_TypedHandlersGetTheirTypes(t *testing.T) {
	t.Parallel()
	db := rousetest.New(t, rousetest.Config{SQL: createBalances})
	happened := rousetest.Stream("invoice", "1").Add(Paid{Cents: 5}, Refunded{Cents: 2}, Paid{Cents: 1}).Events()
	rousetest.Given(t, db, invoices).When(happened...).Then(showBalances, rousetest.Row{"1", 6})
	rousetest.Replay(t, db, invoices, showBalances, happened...)
	db.Append(t, eventstore.Stream{Type: "invoice", ID: "1"}, Paid{Cents: 5}, Refunded{Cents: 2})
	db.Drain(t, invoices)
	db.Expect(t, showBalances, rousetest.Row{"1", 5})
}
