package projection_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/events"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
	"github.com/rouse-es/rouse/projection"
)

// A new program brings another version of the events and of the projection, while the old one goes on with what it knows: the new read model is
// built beside of both versions, in tables of its own, and takes the place.
func TestANewVersionOfEventsAndTablesIsBuiltBeside(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec("create table orders (id text primary key, cents bigint not null)")
	before := projection.New("orders", known, projection.Tables("orders"), projection.Queue(queuePlaced))
	b.append("1", old("OrderPlaced", 1, `{"Euros": "12"}`))
	b.append("2", placed{Cents: 5})
	first := workertest.Start(t, b.Pool, rouse.Config{Projections: []rouse.Projection{before}}).WaitStarted()
	require.NoError(t, rouse.WaitForHead(b.ctx, b.Pool, "orders"))

	type placedV3 struct {
		Cents    int64
		Currency string
	}
	newer := &events.Registry{}
	events.Register[placedV3]("OrderPlaced", 3, events.In(newer),
		events.Upcast(func(placedV1) placed { return placed{Cents: 1200} }),
		events.Upcast(func(v2 placed) placedV3 { return placedV3{v2.Cents, "EUR"} }))
	var replayed, live atomic.Int64
	after := projection.New("orders", projection.Events(newer), projection.Tables("orders"), projection.Version(2),
		projection.CreateWith(func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "create table orders (id text primary key, price text)")
			return err
		}),
		projection.On(func(ctx context.Context, tx pgx.Tx, e placedV3, ev eventstore.Event) error {
			if rouse.Replaying(ctx) {
				replayed.Add(1)
			} else {
				live.Add(1)
			}
			_, err := tx.Exec(ctx, "insert into orders values ($1, $2::bigint || ' ' || $3::text)", ev.AggregateID, e.Cents, e.Currency)
			return err
		}))
	second := workertest.Start(t, b.Pool, rouse.Config{Projections: []rouse.Projection{after}, PromoteCaughtUp: true})
	testdb.Eventually(t, patience, "the new version to be live", func() (bool, error) {
		return b.int("select version from projections where projection_name = 'orders'") == 2, nil
	})
	first.MustStop()
	b.append("3", old("OrderPlaced", 3, `{"Cents": 7, "Currency": "CHF"}`))
	require.NoError(t, rouse.WaitForHead(b.ctx, b.Pool, "orders"))
	second.MustStop()
	rows, err := b.Pool.Query(b.ctx, "select id || ' ' || price from orders order by id")
	require.NoError(t, err)
	prices, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	assert.Equal(t, []string{"1 1200 EUR", "2 5 EUR", "3 7 CHF"}, prices)
	assert.EqualValues(t, 2, replayed.Load())
	assert.EqualValues(t, 1, live.Load())
}
