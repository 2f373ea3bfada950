package integration_test

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
)

func init() {
	lifecycleHandlers["shop"] = func(c *rouse.Config) { c.Projections = append(c.Projections, lifecycleShop{}) }
	lifecycleHandlers["orders-1"] = func(c *rouse.Config) {
		c.Projections = append(c.Projections, lifecycleVersion{lifecycleOrders{"orders"}, 1})
	}
	lifecycleHandlers["orders-2"] = func(c *rouse.Config) {
		c.Projections = append(c.Projections, lifecycleVersion{lifecycleOrders{"orders"}, 2})
	}
}

// lifecycleShop counts the events of each aggregate in two tables, which it names.
type lifecycleShop struct{}

func (lifecycleShop) Name() string     { return "shop" }
func (lifecycleShop) Tables() []string { return []string{"orders", "lines"} }

func (lifecycleShop) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	for _, table := range []string{"orders", "lines"} {
		if err := (lifecycleOrders{table}).Apply(ctx, tx, ev); err != nil {
			return err
		}
	}
	return nil
}

// lifecycleVersion is lifecycleOrders in a version.
type lifecycleVersion struct {
	lifecycleOrders
	version int
}

func (lifecycleVersion) Tables() []string { return []string{"orders"} }
func (v lifecycleVersion) Version() int   { return v.version }

func (v lifecycleVersion) Create(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, "create table orders (id text primary key, events int not null, note text)")
	return err
}
