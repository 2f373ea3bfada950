package retention_test

import (
	"context"
	"fmt"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/retention"
)

// A person asks to be forgotten: what is in the events of the aggregate goes, from the log, from errors and from archives.
func ExampleErase() {
	ctx := context.Background()
	db := signups(ctx)
	defer db.Close()

	alice := eventstore.Stream{Type: "user", ID: "alice"}
	erased, err := retention.Erase(ctx, db.Pool, alice, retention.EraseOptions{})
	if err != nil {
		panic(err)
	}
	fmt.Println(erased.Replaced, "events are empty; see to the read models of", erased.Handled)
	events, err := eventstore.ReadStream(ctx, db.Pool, alice, eventstore.ReadOptions{})
	if err != nil {
		panic(err)
	}
	for _, ev := range events {
		fmt.Println(ev.AggregateVersion, ev.Type, string(ev.Payload))
	}
	// Output:
	// 2 events are empty; see to the read models of [seen]
	// 1 SignedUp {}
	// 2 SignedIn {}
}
