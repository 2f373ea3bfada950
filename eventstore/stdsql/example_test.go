package stdsql_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/eventstore/stdsql"
)

// The row and the event commit together, or not at all.
func Example() {
	ctx := context.Background()
	db, err := sql.Open("pgx", "postgres://localhost/shop")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = db.Close() }()

	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = tx.Rollback() }() // does nothing after the commit
	if _, err := tx.ExecContext(ctx, `insert into orders (id) values ($1)`, "42"); err != nil {
		fmt.Println(err)
		return
	}
	appended, err := stdsql.Append(ctx, tx, eventstore.Stream{Type: "order", ID: "42"}, eventstore.NoStream(),
		eventstore.NewEvent{Type: "OrderPlaced", Payload: json.RawMessage(`{"cents": 1250}`)})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("at version", appended.LastVersion, tx.Commit())
}
