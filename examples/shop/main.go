// Command shop is a small shop: orders are placed and paid, three lists of them are kept, receipts are sent: see README.md.
package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/aggregate"
	"github.com/rouse-es/rouse/app"
	"github.com/rouse-es/rouse/events"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/projection"
)

//go:embed *.sql
var migrations embed.FS

func main() {
	app.Main(app.Config{
		Projections: []rouse.Projection{orders(), customers(), days()},
		Effects:     []rouse.Effect{receipts(send)},
		Migrations:  migrations,
		Commands:    []app.Command{{Name: "serve", Short: "Serve the shop at 127.0.0.1:8080", Run: serve}},
	})
}

type orderPlaced struct {
	Customer string `json:"customer"`
	Cents    int64  `json:"cents"`
}
type orderPaid struct{}

var _ = events.Register[orderPlaced]("OrderPlaced", 1)
var _ = events.Register[orderPaid]("OrderPaid", 1)
var errNotPayable = errors.New("there is no such order, or it is paid")

// order is what a decision asks of the order's events.
type order struct{ placed, paid bool }

func (o order) after(event any) order {
	switch event.(type) {
	case orderPlaced:
		o.placed = true
	case orderPaid:
		o.paid = true
	}
	return o
}

func (e orderPlaced) decide(o order) ([]any, error) {
	if o.placed {
		return nil, nil // it was sent twice
	}
	return []any{e}, nil
}

func (e orderPaid) decide(o order) ([]any, error) {
	if !o.placed || o.paid {
		return nil, errNotPayable
	}
	return []any{e}, nil
}

func orders() rouse.Projection {
	return projection.New("orders", projection.Tables("orders"),
		projection.Queue(func(b *pgx.Batch, e orderPlaced, ev eventstore.Event) error {
			b.Queue("insert into orders (id, customer, cents) values ($1, $2, $3)", ev.AggregateID, e.Customer, e.Cents)
			return nil
		}),
		projection.Queue(func(b *pgx.Batch, _ orderPaid, ev eventstore.Event) error {
			b.Queue("update orders set paid = true where id = $1", ev.AggregateID)
			return nil
		}))
}

func customers() rouse.Projection {
	return projection.New("customers", projection.Tables("customers"),
		projection.Queue(func(b *pgx.Batch, e orderPlaced, _ eventstore.Event) error {
			b.Queue(`insert into customers as c values ($1, 1, $2)
				on conflict (name) do update set orders = c.orders + 1, cents = c.cents + $2`, e.Customer, e.Cents)
			return nil
		}))
}

func days() rouse.Projection {
	return projection.New("days", projection.Tables("days"),
		projection.Queue(func(b *pgx.Batch, e orderPlaced, ev eventstore.Event) error {
			b.Queue("insert into days as d values ($1, $2) on conflict (day) do update set cents = d.cents + $2", ev.CreatedAt, e.Cents)
			return nil
		}))
}

// receipts sends a receipt for each payment from now on. One that fails is tried for an hour or so, and then left to people.
func receipts(send func(ctx context.Context, key, order string) error) rouse.Effect {
	return projection.NewEffect("receipts", projection.StartFrom(rouse.Now), projection.OnFailure(rouse.Park),
		projection.Retry(rouse.RetryPolicy{Tries: 14, Pause: rouse.Doubling(2*time.Second, 10*time.Minute)}),
		projection.Do(func(ctx context.Context, _ orderPaid, ev eventstore.Event) error {
			return send(ctx, ev.ID.String(), ev.AggregateID) // after a crash it may come again, with the same key
		}))
}

func send(_ context.Context, key, order string) error {
	_, err := fmt.Printf("receipt %s: order %s is paid\n", key, order)
	return err
}

func site(pool *pgxpool.Pool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /orders/{id}", func(w http.ResponseWriter, r *http.Request) {
		var e orderPlaced
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer(w, r, pool, e.decide)
	})
	mux.HandleFunc("PUT /orders/{id}/payment", func(w http.ResponseWriter, r *http.Request) { answer(w, r, pool, orderPaid{}.decide) })
	mux.HandleFunc("GET /orders", func(w http.ResponseWriter, r *http.Request) {
		var list []byte
		if err := pool.QueryRow(r.Context(), "select coalesce(json_agg(o order by id), '[]') from orders o").Scan(&list); err != nil {
			http.Error(w, "the list cannot be shown", http.StatusInternalServerError)
			return
		}
		_, _ = w.Write(list)
	})
	return mux
}

// answer carries out a decision, and answers once the list of orders shows what was appended, if anything was, or after a second.
func answer(w http.ResponseWriter, r *http.Request, pool *pgxpool.Pool, decide func(order) ([]any, error)) {
	appended, err := aggregate.Execute(r.Context(), pool, eventstore.Stream{Type: "order", ID: r.PathValue("id")}, order.after, decide)
	if errors.Is(err, errNotPayable) {
		http.Error(w, err.Error(), http.StatusConflict)
	} else if err != nil {
		http.Error(w, "it was not recorded: try again", http.StatusServiceUnavailable)
	}
	ctx, cancel := context.WithTimeout(r.Context(), time.Second)
	defer cancel()
	if len(appended.Positions) > 0 && rouse.WaitFor(ctx, pool, "orders", appended) != nil {
		w.WriteHeader(http.StatusAccepted) // it is done, and the list will show it
	}
}

func serve(ctx context.Context, env app.Env, _ []string) error {
	server := &http.Server{Addr: "127.0.0.1:8080", Handler: site(env.Pool), ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
