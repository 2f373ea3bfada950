package projection_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/events"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
	"github.com/rouse-es/rouse/parked"
	"github.com/rouse-es/rouse/projection"
)

// What the shop of these tests wrote at first, and what it writes now.
type (
	placedV1 struct{ Euros string }
	placed   struct {
		Cents int64 `json:"cents"`
	}
	cancelled struct{}
	noted     struct{}
)

// shop knows them.
var shop = vocabulary()

func vocabulary() *events.Registry {
	r := &events.Registry{}
	events.Register[placed]("OrderPlaced", 2, events.In(r), events.Upcast(func(v1 placedV1) placed {
		euros, _ := strconv.ParseInt(v1.Euros, 10, 64)
		return placed{Cents: 100 * euros}
	}))
	events.Register[cancelled]("OrderCancelled", 1, events.In(r), events.Formerly("OrderDropped"))
	events.Register[noted]("OrderNoted", 1, events.In(r))
	return r
}

var known = projection.Events(shop)

// append appends to order id what is given: values of shop, or eventstore.NewEvent.
func (b *bundle) append(id string, values ...any) {
	b.t.Helper()
	all, err := shop.Encode(values...)
	require.NoError(b.t, err)
	tx := b.begin()
	_, err = eventstore.Append(b.ctx, tx, eventstore.Stream{Type: "order", ID: id}, eventstore.Any(), all...)
	require.NoError(b.t, err)
	require.NoError(b.t, tx.Commit(b.ctx))
}

// old is an event as the program of that time wrote it.
func old(eventType string, version int, payload string) eventstore.NewEvent {
	return eventstore.NewEvent{Type: eventType, Version: version, Payload: []byte(payload)}
}

// orders makes the table of the read model.
func (b *bundle) orders() {
	b.t.Helper()
	b.exec("create table orders (id text primary key, cents bigint not null); create table lines (id text references orders, n bigint)")
}

func onPlaced(ctx context.Context, tx pgx.Tx, e placed, ev eventstore.Event) error {
	_, err := tx.Exec(ctx, "insert into orders (id, cents) values ($1, $2)", ev.AggregateID, e.Cents)
	return err
}

func queuePlaced(b *pgx.Batch, e placed, ev eventstore.Event) error {
	b.Queue("insert into orders (id, cents) values ($1, $2)", ev.AggregateID, e.Cents)
	return nil
}

func onCancelled(ctx context.Context, tx pgx.Tx, _ cancelled, ev eventstore.Event) error {
	_, err := tx.Exec(ctx, "delete from orders where id = $1", ev.AggregateID)
	return err
}

func queueCancelled(b *pgx.Batch, _ cancelled, ev eventstore.Event) error {
	b.Queue("delete from orders where id = $1", ev.AggregateID)
	return nil
}

// forms are the ways to write the same projection.
var forms = map[string][]projection.Option{
	"On":    {projection.On(onPlaced), projection.On(onCancelled)},
	"Queue": {projection.Queue(queuePlaced), projection.Queue(queueCancelled)},
	"both":  {projection.Queue(queuePlaced), projection.On(onCancelled)},
}

// form is one of forms, with a database that has the tables of the read model.
type form struct {
	*bundle
	name     string
	handlers []projection.Option
}

// eachForm runs a test for each of forms.
func eachForm(t *testing.T, test func(t *testing.T, b form)) {
	t.Helper()
	for name, handlers := range forms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.orders()
			test(t, form{b, name, handlers})
		})
	}
}

// make makes the projection with more options.
func (b form) make(more ...projection.Option) rouse.Projection {
	return projection.New("orders", append(slices.Clone(b.handlers), more...)...)
}

func TestHandlersReceiveEveryVersionAsTheirType(t *testing.T) {
	t.Parallel()
	eachForm(t, func(t *testing.T, b form) {
		b.append("1", old("OrderPlaced", 1, `{"Euros": "12"}`))
		b.append("2", placed{Cents: 5}, noted{})
		b.append("3", placed{Cents: 9}, old("OrderDropped", 1, `{}`))
		b.append("4", placed{Cents: 9}, cancelled{})
		b.append("5", old("OtherThing", 1, `[]`))
		p := b.make(known)
		_, batches := p.(rouse.BatchProjection)
		assert.Equal(t, b.name == "Queue", batches)
		assert.Equal(t, "orders", p.Name())
		require.NoError(t, workertest.Drain(t, b.Pool, rouse.Config{Projections: []rouse.Projection{p}, OnFailure: rouse.Stop}))
		assert.EqualValues(t, 1200, b.int("select cents from orders where id = '1'"))
		assert.EqualValues(t, 5, b.int("select cents from orders where id = '2'"))
		assert.EqualValues(t, 2, b.int("select count(*) from orders"))
	})
}

func TestOnlyTheTypesOfTheHandlersAreRead(t *testing.T) {
	t.Parallel()
	p := projection.New("orders", known, projection.On(onPlaced), projection.On(onCancelled), projection.Ignore[noted]())
	assert.Equal(t, []string{"OrderCancelled", "OrderDropped", "OrderNoted", "OrderPlaced"}, p.(rouse.EventTyped).EventTypes())
	p = projection.New("orders", known, projection.On(onPlaced), projection.Unknown(projection.Pass))
	assert.Empty(t, p.(rouse.EventTyped).EventTypes(), "who asks for unknown ones reads all")
	require.NoError(t, p.Apply(t.Context(), nil, eventstore.Event{Type: "OrderNoted"}), "what is known and has no handler is passed over")
}

// The rebuild makes a read model of both versions beside the live one, and takes its place; a reset empties it.
func TestTablesLetItBeRebuiltAndReset(t *testing.T) {
	t.Parallel()
	eachForm(t, func(t *testing.T, b form) {
		b.append("1", old("OrderPlaced", 1, `{"Euros": "12"}`))
		b.append("2", placed{Cents: 5})
		p := b.make(known, projection.Tables("orders", "lines"))
		w := workertest.Start(t, b.Pool, rouse.Config{Projections: []rouse.Projection{p}, OnFailure: rouse.Stop})
		w.WaitState("orders", rouse.StateLive)
		require.NoError(t, rouse.WaitForHead(b.ctx, b.Pool, "orders"))
		b.exec("update orders set cents = 0") // by a fault that the rebuild mends
		require.NoError(t, projection.Rebuild(b.ctx, b.Pool, "orders", rouse.Beginning, nil))
		assert.EqualValues(t, 1205, b.int("select sum(cents) from orders"))

		b.exec("insert into lines values ('1', 1)") // which must go before its order
		_, err := projection.Reset(b.ctx, b.Pool, "orders", 0, false)
		require.NoError(t, err)
		b.append("3", placed{Cents: 5})
		require.NoError(t, rouse.WaitForHead(b.ctx, b.Pool, "orders"))
		assert.EqualValues(t, 1210, b.int("select sum(cents) from orders"))
		assert.EqualValues(t, 0, b.int("select count(*) from lines"))
		w.MustStop()
	})
}

func TestAPayloadThatDoesNotFitIsParkedAtOnceAndANewerOneIsTriedAgain(t *testing.T) {
	t.Parallel()
	newer := &events.Registry{}
	events.Register[placed]("OrderPlaced", 3, events.In(newer), events.Since(3))
	events.Register[cancelled]("OrderCancelled", 1, events.In(newer))
	eachForm(t, func(t *testing.T, b form) {
		b.append("1", old("OrderPlaced", 2, `{"cents": "many"}`))
		b.append("2", old("OrderPlaced", 3, `{"cents": 4}`))
		b.append("3", placed{Cents: 3})
		hourly := rouse.RetryPolicy{Pause: func(int) time.Duration { return time.Hour }}
		p := b.make(known, projection.Retry(hourly))
		w := workertest.Start(t, b.Pool, rouse.Config{Projections: []rouse.Projection{p}})
		testdb.Eventually(t, patience, "the order behind to be handled", func() (bool, error) {
			return b.int("select count(*) from orders where id = '3'") == 1, nil
		})
		w.MustStop()
		aside, err := parked.List(b.ctx, b.Pool, parked.Filter{Projection: "orders"}, 10)
		require.NoError(t, err)
		require.Len(t, aside, 2)
		require.Equal(t, "1", aside[0].Aggregate.ID)
		assert.Zero(t, aside[0].DueAt, "no other try can mend it")
		assert.Equal(t, 1, aside[0].Attempts)
		assert.Contains(t, aside[0].Error, "cents is a string")
		assert.NotContains(t, aside[0].Error, "many")
		assert.NotZero(t, aside[1].DueAt, "a newer program can mend it")

		p = b.make(projection.Events(newer))
		w = workertest.Start(t, b.Pool, rouse.Config{Projections: []rouse.Projection{p}}).WaitStarted()
		_, err = parked.Retry(b.ctx, b.Pool, parked.Filter{Projection: "orders", Aggregate: eventstore.Stream{Type: "order", ID: "2"}})
		require.NoError(t, err)
		testdb.Eventually(t, patience, "the newer event to be handled", func() (bool, error) {
			return b.int("select count(*) from orders where id = '2' and cents = 4") == 1, nil
		})
		w.MustStop()
	})
}

func TestUnknownTypesArePassedAndTold(t *testing.T) {
	t.Parallel()
	eachForm(t, func(t *testing.T, b form) {
		b.append("1", placed{Cents: 1}, noted{}, old("OrderSplit", 2, `{}`), old("OrderSplit", 2, `{}`), cancelled{})
		b.append("2", old("OrderMerged", 1, `{}`), placed{Cents: 1})
		p := b.make(known, projection.Unknown(projection.Pass))
		var mu sync.Mutex
		told := map[string]int{}
		var log bytes.Buffer
		require.NoError(t, workertest.Drain(t, b.Pool, rouse.Config{
			Projections: []rouse.Projection{p}, OnFailure: rouse.Stop, Log: zerolog.New(zerolog.SyncWriter(&log)).Level(zerolog.WarnLevel),
			Observer: rouse.Observer{Unknown: func(projection string, ev eventstore.Event) {
				mu.Lock()
				defer mu.Unlock()
				told[projection+" "+ev.Type]++
			}},
		}))
		assert.EqualValues(t, 1, b.int("select count(*) from orders"))
		assert.Equal(t, map[string]int{"orders OrderSplit": 2, "orders OrderMerged": 1}, told)
		assert.Equal(t, 1, strings.Count(log.String(), "OrderSplit"), "once for each type: %s", &log)
		assert.Equal(t, 1, strings.Count(log.String(), "OrderMerged"))
	})
}

func TestUnknownTypesAreRefusedUntilAProgramKnowsThem(t *testing.T) {
	t.Parallel()
	eachForm(t, func(t *testing.T, b form) {
		b.append("1", old("OrderSplit", 1, `{}`), placed{Cents: 1})
		b.append("2", noted{}, placed{Cents: 1})
		p := b.make(known, projection.Unknown(projection.Refuse))
		require.NoError(t, workertest.Drain(t, b.Pool, rouse.Config{Projections: []rouse.Projection{p}}))
		assert.EqualValues(t, 1, b.int("select count(*) from orders"), "the one behind the unknown one waits")
		aside, err := parked.List(b.ctx, b.Pool, parked.Filter{Projection: "orders"}, 10)
		require.NoError(t, err)
		require.NotEmpty(t, aside)
		assert.Equal(t, "OrderSplit", aside[0].Type)
		assert.Equal(t, 1, aside[0].Attempts)
		assert.Contains(t, aside[0].Error, "add events.Register for it, and a handler to projection orders")
	})
}

func TestAnEffectIsMadeOfFunctionsToo(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append("1", old("OrderPlaced", 1, `{"Euros": "12"}`), noted{}, cancelled{})
	b.append("2", old("OrderPlaced", 2, `{"cents": []}`), placed{Cents: 7})
	var mu sync.Mutex
	var did []string
	do := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		did = append(did, what)
	}
	handlers := []projection.Option{known, projection.Ignore[noted](), projection.OnFailure(rouse.Skip),
		projection.Do(func(ctx context.Context, e placed, ev eventstore.Event) error {
			_, leased := rouse.LeaseOf(ctx)
			do(fmt.Sprint(ev.AggregateID, " placed ", e.Cents, " ", leased))
			return nil
		}),
		projection.Do(func(_ context.Context, _ cancelled, ev eventstore.Event) error {
			do(ev.AggregateID + " cancelled")
			return nil
		})}
	e := projection.NewEffect("mails", handlers...)
	err := workertest.Drain(t, b.Pool, rouse.Config{Effects: []rouse.Effect{e}})
	require.ErrorIs(t, err, rouse.ErrNoStart)
	assert.ErrorContains(t, err, "projection.StartFrom(rouse.Now) to leave out")
	e = projection.NewEffect("mails", append(handlers, projection.StartFrom(rouse.Beginning))...)
	require.NoError(t, workertest.Drain(t, b.Pool, rouse.Config{Effects: []rouse.Effect{e}}))
	assert.ElementsMatch(t, []string{"1 placed 1200 true", "1 cancelled", "2 placed 7 true"}, did)
}

func TestMisuseIsFoundByNew(t *testing.T) {
	t.Parallel()
	type stranger struct{}
	on := projection.On(onPlaced)
	do := projection.Do(func(context.Context, placed, eventstore.Event) error { return nil })
	ctxFunc := func(context.Context, pgx.Tx) error { return nil }
	for _, c := range []struct {
		says string
		call func() any
	}{
		{`New(" ") needs a name`, func() any { return projection.New(" ", known, on) }},
		{`New("p") has no handlers`, func() any { return projection.New("p", known) }},
		{`NewEffect("p") has no handlers`, func() any { return projection.NewEffect("p") }},
		{"handles projection_test.stranger, which is not registered", func() any { return projection.New("p", known, projection.Ignore[stranger]()) }},
		{"handles projection_test.placed, which is not registered", func() any { return projection.New("p", on) }},
		{"two handlers of projection_test.placed, On and Queue", func() any { return projection.New("p", known, on, projection.Queue(queuePlaced)) }},
		{"two handlers of projection_test.placed, On and On", func() any { return projection.New("p", known, on, on) }},
		{"a On of projection_test.placed without a function", func() any { return projection.New("p", known, projection.On[placed](nil)) }},
		{"a Queue of projection_test.placed without a function", func() any { return projection.New("p", known, projection.Queue[placed](nil)) }},
		{"is a projection, and Do[projection_test.placed] is for effects", func() any { return projection.New("p", known, do) }},
		{"is an effect, and On[projection_test.placed] is for projections", func() any { return projection.NewEffect("p", known, on) }},
		{"is an effect, and Tables is for projections", func() any { return projection.NewEffect("p", known, do, projection.Tables("a")) }},
		{"is an effect, and ResetWith is for projections", func() any { return projection.NewEffect("p", known, do, projection.ResetWith(ctxFunc)) }},
		{"is an effect, and Version is for projections", func() any { return projection.NewEffect("p", known, do, projection.Version(2)) }},
		{"is an effect, and CreateWith is for projections", func() any { return projection.NewEffect("p", known, do, projection.CreateWith(ctxFunc)) }},
		{"has OnFailure twice", func() any {
			return projection.New("p", known, on, projection.OnFailure(rouse.Stop), projection.OnFailure(rouse.Stop))
		}},
		{`has OnFailure "never"`, func() any { return projection.New("p", known, on, projection.OnFailure("never")) }},
		{"has Events without a registry", func() any { return projection.New("p", on, projection.Events(nil)) }},
		{"has OfAggregates without types", func() any { return projection.New("p", known, on, projection.OfAggregates()) }},
		{"has StartFrom without a start", func() any { return projection.New("p", known, on, projection.StartFrom("")) }},
		{"has Tables without names", func() any { return projection.New("p", known, on, projection.Tables("")) }},
		{"has ResetWith without a function", func() any { return projection.New("p", known, on, projection.ResetWith(nil)) }},
		{"has CreateWith without a function", func() any { return projection.New("p", known, on, projection.CreateWith(nil)) }},
		{"has CreateWith and no Tables", func() any { return projection.New("p", known, on, projection.CreateWith(ctxFunc)) }},
		{"has Version 0, which is below 1", func() any { return projection.New("p", known, on, projection.Version(0)) }},
		{"neither Pass nor Refuse", func() any { return projection.New("p", known, on, projection.Unknown(0)) }},
	} {
		value := panics(func() { c.call() })
		require.NotNil(t, value, c.says)
		assert.Contains(t, fmt.Sprint(value), c.says)
		assert.Contains(t, fmt.Sprint(value), "projection: New")
	}
}

func panics(f func()) (value any) {
	defer func() { value = recover() }()
	f()
	return nil
}

// Who has the projection as a value may ask it as a worker does.
func TestWhatIsMadeAnswersForItself(t *testing.T) {
	t.Parallel()
	for form, handlers := range forms {
		p := projection.New("orders", append(slices.Clone(handlers), known)...)
		require.Error(t, p.(rouse.Resetter).Reset(t.Context(), nil), form)
		require.Error(t, p.(rouse.Creator).Create(t.Context(), nil))
		assert.Empty(t, p.(rouse.Tabled).Tables())
		assert.Zero(t, p.(rouse.Retrier).RetryPolicy().Tries)
		assert.Equal(t, 1, p.(rouse.Versioned).Version())
		assert.Contains(t, p.(rouse.EventTyped).EventTypes(), "OrderPlaced")
	}
}
