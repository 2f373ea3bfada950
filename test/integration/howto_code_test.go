package integration_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/events"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
	"github.com/rouse-es/rouse/parked"
	"github.com/rouse-es/rouse/projection"
)

// The Go code of the pages in docs/howto, as far as it does not stand in an example.

// The tables of the pages: a read model, and a post office outside the database, which refuses what faults has.
const (
	orderRows      = "create table orders (id text primary key, events int not null);"
	ordersAndLines = orderRows + "create table lines (id text primary key, events int not null); create table told (id text not null);"
	post           = "create table letters (key text primary key, name text not null); create table faults (name text not null, fault text not null);"
	ordersAndPost  = "create table orders (id text primary key, customer text not null, cents bigint not null);" + post
)

func init() {
	howtoHandlers["letters"] = func(pool *pgxpool.Pool, c *rouse.Config) {
		c.Effects = append(c.Effects, Mails{postOffice{pool}})
	}
	howtoHandlers["shop-and-cache"] = func(pool *pgxpool.Pool, c *rouse.Config) {
		c.Projections = append(c.Projections, shopAndCache{cache: cache{pool}})
	}
	howtoHandlers["publisher"] = func(pool *pgxpool.Pool, c *rouse.Config) {
		c.Effects = append(c.Effects, Publisher{postOffice{pool}})
	}
}

var (
	errNoAddress = errors.New("there is no such address")
	errAway      = errors.New("the post office is closed")
)

// busyError is the answer of a post office that has too much to do.
type busyError struct{ pause time.Duration }

func (busyError) Error() string { return "the post office is busy" }

// postOffice is a service that keeps what it has sent, by a key that it is given.
type postOffice struct{ pool *pgxpool.Pool }

func (p postOffice) Send(ctx context.Context, key, name string) error {
	var fault string
	err := p.pool.QueryRow(ctx, "select fault from faults where name in ($1, '*')", name).Scan(&fault)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		_, err = p.pool.Exec(ctx, "insert into letters values ($1, $2) on conflict do nothing", key, name)
		return err
	case err != nil:
		return err
	}
	switch fault {
	case "no address":
		return errNoAddress
	case "closed":
		return errAway
	case "busy":
		return busyError{10 * time.Millisecond}
	}
	return errors.New(fault)
}

// cache is outside of the database: what it is told is not rolled back.
type cache struct{ pool *pgxpool.Pool }

func (c cache) Forget(ctx context.Context, id string) error {
	_, err := c.pool.Exec(ctx, "insert into told values ($1)", id)
	return err
}

// shopAndCache is a projection that also tells a cache what is out of date.
type shopAndCache struct {
	lifecycleShop
	cache cache
}

func (s shopAndCache) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	if err := s.lifecycleShop.Apply(ctx, tx, ev); err != nil {
		return err
	}
	if rouse.Replaying(ctx) {
		return nil // the cache was told when the event was new
	}
	return s.cache.Forget(ctx, ev.AggregateID)
}

// Mails sends a letter for each order that is placed.
type Mails struct{ post postOffice }

func (Mails) Name() string           { return "mails" }
func (Mails) EventTypes() []string   { return []string{"OrderPlaced"} }
func (Mails) StartFrom() rouse.Start { return rouse.Now }

func (m Mails) Do(ctx context.Context, ev eventstore.Event) error {
	err := m.post.Send(ctx, ev.ID.String(), ev.AggregateID)
	var busy busyError
	switch {
	case errors.Is(err, errNoAddress):
		return rouse.Permanent(err) // no other try can mend it
	case errors.Is(err, errAway):
		return rouse.Unavailable(err) // it is not the event's fault: everything waits, and no try counts
	case errors.As(err, &busy):
		return rouse.RetryAfter(err, busy.pause) // not before the service wants it
	}
	return err // any other is tried again, after growing pauses
}

func (Mails) RetryPolicy() rouse.RetryPolicy {
	return rouse.RetryPolicy{Tries: 5, Pause: rouse.Doubling(50*time.Millisecond, 10*time.Minute)}
}

func (Mails) OnFailure() rouse.OnFailure { return rouse.Park }

// Publisher tells other systems what has happened.
type Publisher struct{ broker postOffice }

func (Publisher) Name() string           { return "publisher" }
func (Publisher) StartFrom() rouse.Start { return rouse.Beginning }

func (p Publisher) Do(ctx context.Context, ev eventstore.Event) error {
	return p.broker.Send(ctx, ev.ID.String(), ev.AggregateID) // the id is the key by which a double is known
}

// placeOrder writes the state and the event in one transaction.
func placeOrder(ctx context.Context, pool *pgxpool.Pool, id, customer string, cents int64) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "insert into orders values ($1, $2, $3)", id, customer, cents); err != nil {
			return err
		}
		payload, err := json.Marshal(map[string]any{"customer": customer, "cents": cents})
		if err != nil {
			return err
		}
		_, err = eventstore.Append(ctx, tx, eventstore.Stream{Type: "order", ID: id}, eventstore.NoStream(),
			eventstore.NewEvent{Type: "OrderPlaced", Payload: payload})
		return err
	})
}

func TestHowToOutboxWritesBothOrNothing(t *testing.T) {
	t.Parallel()
	s := newStage(t, testdb.New(t))
	s.exec(ordersAndPost)
	require.NoError(t, placeOrder(s.ctx, s.Pool, "o-1", "anna", 1250))
	s.exec("delete from orders")
	require.ErrorIs(t, placeOrder(s.ctx, s.Pool, "o-1", "anna", 1250), eventstore.ErrConflict)
	require.EqualValues(t, 0, s.int("select count(*) from orders"))
	require.EqualValues(t, 1, s.int("select count(*) from events"))
}

// retryWhatTheServiceRefused has the events tried again that failed while the service was wrong.
func retryWhatTheServiceRefused(ctx context.Context, pool *pgxpool.Pool) (int64, error) {
	return parked.Retry(ctx, pool, parked.Filter{Projection: "mails", Error: "no such address", Since: time.Now().Add(-2 * time.Hour)})
}

func TestHowToDeadLettersAreRetriedFromGo(t *testing.T) {
	t.Parallel()
	l := &lifecycle{stage: newStage(t, testdb.New(t)), workers: map[string]*lifecycleWorker{}}
	l.exec(post)
	defer l.stopWorkers("")
	l.startWorker("letters")
	l.exec("insert into faults values ('o-1', 'no address')")
	require.NoError(t, appendOrder(l.ctx, l.Pool, "order", "o-1"))
	l.eventually(patience, "the event to be parked", "select count(*) = 1 from parked_events where due_at is null")
	l.exec("delete from faults")
	n, err := retryWhatTheServiceRefused(l.ctx, l.Pool)
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
	l.eventually(patience, "the letter", "select count(*) = 1 from letters")
}

// appendOrder appends an order.
func appendOrder(ctx context.Context, pool *pgxpool.Pool, aggregate, id string) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		_, err := eventstore.Append(ctx, tx, eventstore.Stream{Type: aggregate, ID: id}, eventstore.Any(),
			eventstore.NewEvent{Type: "OrderPlaced", Payload: json.RawMessage(`{}`)})
		return err
	})
}

// waitUntilSeen waits a second at most, and tells whether the read model has what was appended.
func waitUntilSeen(ctx context.Context, pool *pgxpool.Pool, appended eventstore.Appended) (seen bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	err = rouse.WaitFor(ctx, pool, "orders", appended)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, context.DeadlineExceeded): // late, or no worker runs
		return false, nil
	case errors.Is(err, rouse.ErrParked), errors.Is(err, rouse.ErrPaused), errors.Is(err, rouse.ErrStopped):
		return false, nil // waiting longer is in vain: show what there is, and say so
	}
	return false, err
}

func TestHowToReadYourWritesSaysWhatIsNotSeen(t *testing.T) {
	t.Parallel()
	l := &lifecycle{stage: newStage(t, testdb.New(t)), workers: map[string]*lifecycleWorker{}}
	l.exec(orderRows)
	defer l.stopWorkers("")
	write := func() (a eventstore.Appended) {
		require.NoError(t, pgx.BeginFunc(l.ctx, l.Pool, func(tx pgx.Tx) (err error) {
			a, err = eventstore.Append(l.ctx, tx, eventstore.Stream{Type: "order", ID: "o-1"}, eventstore.Any(),
				eventstore.NewEvent{Type: "OrderPlaced", Payload: json.RawMessage(`{}`)})
			return err
		}))
		return a
	}
	first := write()
	testdb.Eventually(t, patience, "the answer that there is no projection", func() (bool, error) { // which may take longer than its second
		_, err := waitUntilSeen(l.ctx, l.Pool, first)
		return errors.Is(err, rouse.ErrNoProjection), nil
	})
	l.startWorker("orders")
	testdb.Eventually(t, patience, "the write to be seen", func() (bool, error) { return waitUntilSeen(l.ctx, l.Pool, first) })
	require.NoError(t, projection.Pause(l.ctx, l.Pool, "orders"))
	seen, err := waitUntilSeen(l.ctx, l.Pool, write())
	require.NoError(t, err)
	require.False(t, seen)
}

// inTenant calls f in a transaction whose unqualified names are those of a tenant.
func inTenant(ctx context.Context, pool *pgxpool.Pool, schema string, f func(tx pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "select set_config('search_path', quote_ident($1), true)", schema); err != nil {
			return err
		}
		return f(tx)
	})
}

func TestHowToTenantsHaveTheirOwn(t *testing.T) {
	t.Parallel()
	l := &lifecycle{stage: newStage(t, testdb.New(t)), path: pathWithRouse(t), workers: map[string]*lifecycleWorker{}}
	pool := l.Pool
	for _, schema := range []string{"tenant_1", "tenant_2"} {
		l.exec("create schema " + schema)
		l.exec("create table " + schema + ".orders (id text primary key, events int not null)")
	}
	l.sh("rouse migrate --schemas 'tenant_*'")
	group, err := rouse.NewGroup(pool, rouse.GroupConfig{
		Schemas: rouse.SchemasLike(pool, "tenant_*"), // or a function that asks your table of tenants
		Worker: func(context.Context, string) (rouse.Config, error) {
			return rouse.Config{Projections: []rouse.Projection{lifecycleOrders{"orders"}}}, nil
		},
	})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(l.ctx)
	ended := make(chan error, 1)
	go func() { ended <- group.Run(ctx) }()
	defer func() { stop(); require.NoError(t, <-ended) }()
	tenant, order := "acme", "17"
	for _, schema := range []string{"tenant_1", "tenant_2", "tenant_2"} {
		require.NoError(t, inTenant(l.ctx, pool, schema, func(tx pgx.Tx) error {
			stream := eventstore.Stream{Type: "order", ID: tenant + "/" + order}
			_, err := eventstore.Append(l.ctx, tx, stream, eventstore.Any(), eventstore.NewEvent{Type: "OrderPlaced", Payload: json.RawMessage(`{}`)})
			return err
		}))
	}
	l.eventually(patience, "each tenant to have its own", `select (select sum(events) from tenant_1.orders) = 1 and (select sum(events) from tenant_2.orders) = 2`)
	require.EqualValues(t, 0, l.int("select count(*) from events"))
}

func init() {
	lifecycleSteps["tenants"] = (*lifecycle).howtoTenants
	lifecycleSteps["adopted"] = (*lifecycle).howtoAdopted
}

// howtoTenants runs a command until the 20 events of each tenant are handled.
func (l *lifecycle) howtoTenants(command string) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.ctx, readmePatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", "exec "+command)
	cmd.Env = append(workertest.Environ(), "PATH="+l.path, "DATABASE_URL="+l.URL)
	require.NoError(l.t, cmd.Start())
	for _, schema := range []string{"tenant_1", "tenant_2"} {
		testdb.Eventually(l.t, patience, schema+" to have its 20 events", func() (done bool, err error) {
			err = l.Pool.QueryRow(l.ctx, "select coalesce(sum(events), 0) = 20 from "+schema+".scaling_activity").Scan(&done)
			var missing *pgconn.PgError
			if errors.As(err, &missing) && missing.Code == "42P01" {
				err = nil // the table is made at the first start
			}
			return done, err
		})
	}
	require.NoError(l.t, cmd.Process.Signal(os.Interrupt))
	require.NoError(l.t, cmd.Wait())
}

// howtoAdopted writes to the outbox of the page with many writers, and requires that a worker gets all of its rows, in order.
func (l *lifecycle) howtoAdopted(string) {
	l.t.Helper()
	const writers, rows, before = 8, 25, 40
	var all sync.WaitGroup
	errs := make([]error, writers)
	for w := range writers {
		all.Go(func() {
			for range rows {
				_, err := l.Pool.Exec(l.ctx, "insert into outbox (order_id, kind, data) select 'o-' || 1 + floor(random() * 2), 'OrderPaid', '{}'")
				errs[w] = errors.Join(errs[w], err)
			}
		})
	}
	all.Wait()
	require.NoError(l.t, errors.Join(errs...))
	w, err := rouse.New(l.Pool, rouse.Config{Schema: "rouse", Projections: []rouse.Projection{recorder{name: "adopted", worker: "w"}}})
	require.NoError(l.t, err)
	require.NoError(l.t, w.Drain(l.ctx))
	require.EqualValues(l.t, before+writers*rows, l.int("select count(distinct event_id) from seen"))
	require.EqualValues(l.t, 0, l.int("select count(*) from outbox o full join seen s using (event_id) where o.id is null or s.n is null"))
	require.EqualValues(l.t, 0, l.int(`select count(*) from (select aggregate_version - row_number() over (partition by aggregate_id order by n) as d from seen) t where d <> 0`))
}

// ParcelSent, since weights are in grams.
type ParcelSent struct {
	Carrier string `json:"carrier"`
	Grams   int64  `json:"grams"`
}

// parcelSentV2 is how it was written while weights were in kilos, and parcelSentV1 before there was more than one carrier.
type (
	parcelSentV2 struct {
		Carrier string `json:"carrier"`
		Kilos   int64  `json:"kilos"`
	}
	parcelSentV1 struct {
		Kilos int64 `json:"kilos"`
	}
)

var _ = events.Register[ParcelSent]("ParcelSent", 3,
	events.Upcast(func(v1 parcelSentV1) parcelSentV2 { return parcelSentV2{Carrier: "post", Kilos: v1.Kilos} }),
	events.Upcast(func(v2 parcelSentV2) ParcelSent { return ParcelSent{Carrier: v2.Carrier, Grams: 1000 * v2.Kilos} }))

func TestHowToUpcastingReadsEveryVersion(t *testing.T) {
	t.Parallel()
	for version, payload := range map[int]string{1: `{"kilos": 2}`, 2: `{"carrier": "post", "kilos": 2}`, 3: `{"carrier": "post", "grams": 2000}`} {
		ev := eventstore.Event{Type: "ParcelSent", Version: version, Payload: json.RawMessage(payload)}
		sent, err := events.As[ParcelSent](ev) // {"kilos": 2} of version 1 is {post 2000}
		require.NoError(t, err)
		require.Equal(t, ParcelSent{Carrier: "post", Grams: 2000}, sent)
	}
	_, err := events.As[ParcelSent](eventstore.Event{Type: "ParcelSent", Version: 4, Payload: json.RawMessage(`{}`)})
	require.ErrorIs(t, err, events.ErrNewer)
	written, err := events.New(ParcelSent{Carrier: "post", Grams: 1})
	require.NoError(t, err)
	require.Equal(t, 3, written.Version)
}
