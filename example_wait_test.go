package rouse_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
)

// placeOrder answers a POST once its read model shows what was written, so that the page that comes next does, too.
func placeOrder(pool *pgxpool.Pool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		var appended eventstore.Appended
		err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) (err error) {
			appended, err = eventstore.Append(ctx, tx, eventstore.Stream{Type: "order", ID: r.FormValue("id")}, eventstore.NoStream(),
				eventstore.NewEvent{Type: "OrderPlaced", Payload: []byte(`{}`)})
			return err
		})
		if err != nil {
			http.Error(w, "the order was not taken", http.StatusConflict)
			return
		}
		if err := rouse.WaitFor(ctx, pool, "orders", appended); err != nil {
			// The order is taken; only the page is not there yet.
			w.WriteHeader(http.StatusAccepted)
			_, _ = fmt.Fprintln(w, "your order is on its way")
			return
		}
		http.Redirect(w, r, "/orders", http.StatusSeeOther)
	}
}

// Read your writes: whoever has written sees it on the next page.
func ExampleWaitFor() {
	var pool *pgxpool.Pool // of the program
	http.Handle("POST /orders", placeOrder(pool))
}
