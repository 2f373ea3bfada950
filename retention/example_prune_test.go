package retention_test

import (
	"context"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/retention"
	"github.com/rouse-es/rouse/rousetest"
)

// seen is a projection that only passes.
type seen struct{}

func (seen) Name() string                                          { return "seen" }
func (seen) Apply(context.Context, pgx.Tx, eventstore.Event) error { return nil }

// signups is a database with three events, which every projection has handled.
func signups(ctx context.Context) *rousetest.DB {
	db, err := rousetest.Open(rousetest.Config{})
	if err != nil {
		panic(err)
	}
	err = pgx.BeginFunc(ctx, db.Pool, func(tx pgx.Tx) error {
		for _, user := range []string{"alice", "bob"} {
			_, err := eventstore.Append(ctx, tx, eventstore.Stream{Type: "user", ID: user}, eventstore.NoStream(),
				eventstore.NewEvent{Type: "SignedUp", Payload: []byte(`{"name": "` + user + `"}`)},
				eventstore.NewEvent{Type: "SignedIn", Payload: []byte(`{}`)})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		panic(err)
	}
	worker, err := rouse.New(db.Pool, rouse.Config{Projections: []rouse.Projection{seen{}}})
	if err != nil {
		panic(err)
	}
	if err := worker.Drain(ctx); err != nil {
		panic(err)
	}
	return db
}

// What every projection has handled leaves the log for archives, which are looked at, and can be put back.
func ExamplePrune() {
	ctx := context.Background()
	db := signups(ctx)
	defer db.Close()
	dir, err := os.MkdirTemp("", "archives")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	options := retention.PruneOptions{Dir: dir} // in earnest with OlderThan
	plan, err := retention.PlanPrune(ctx, db.Pool, options)
	if err != nil {
		panic(err)
	}
	pruned, err := retention.Prune(ctx, db.Pool, options)
	if err != nil {
		panic(err)
	}
	fmt.Println(pruned.Removed, "of", plan.Events, "events have left the log")
	archives, err := retention.Archives(ctx, db.Pool)
	if err != nil {
		panic(err)
	}
	fmt.Println(len(archives), "archive")
	verified, err := retention.Verify(ctx, db.Pool, dir)
	if err != nil {
		panic(err)
	}
	fmt.Println(len(verified.Faults), "faults in the archives")
	restored, err := retention.Restore(ctx, db.Pool, dir, 0)
	if err != nil {
		panic(err)
	}
	fmt.Println(restored.Events, "events are back")
	// Output:
	// 2 of 3 events have left the log
	// 1 archive
	// 0 faults in the archives
	// 2 events are back
}
