package projection_test

import (
	"context"
	"fmt"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/projection"
)

// A projection that is paused handles nothing, in whatever process, until it is resumed.
func ExamplePause() {
	ctx := context.Background()
	db := withSales(ctx)
	defer db.Close()

	if err := projection.Pause(ctx, db.Pool, "sales"); err != nil {
		panic(err)
	}
	sell(ctx, db.Pool, 1)
	show(ctx, db.Pool)
	all, err := projection.List(ctx, db.Pool)
	if err != nil {
		panic(err)
	}
	fmt.Println(all[0].Name, "is", all[0].State)

	if err := projection.Resume(ctx, db.Pool, "sales"); err != nil {
		panic(err)
	}
	drain(ctx, db.Pool, rouse.Config{Projections: []rouse.Projection{sales{}}})
	show(ctx, db.Pool)
	// Output:
	// sold: 6
	// sales is paused
	// sold: 8
}

// The next worker that runs the projection empties its read model and starts over. Readers see it empty meanwhile: see Rebuild.
func ExampleReset() {
	ctx := context.Background()
	db := withSales(ctx)
	defer db.Close()

	if _, err := projection.Reset(ctx, db.Pool, "sales", 0, false); err != nil {
		panic(err)
	}
	drain(ctx, db.Pool, rouse.Config{Projections: []rouse.Projection{sales{}}})
	last, err := projection.LastReset(ctx, db.Pool, "sales")
	if err != nil {
		panic(err)
	}
	fmt.Println("pending:", last.Pending)
	show(ctx, db.Pool)

	// It may start over elsewhere: behind a position, or at a time.
	position, err := projection.ResetTo(ctx, db.Pool, "sales", rouse.Position(2), false)
	if err != nil {
		panic(err)
	}
	drain(ctx, db.Pool, rouse.Config{Projections: []rouse.Projection{sales{}}})
	fmt.Println("behind position", position)
	show(ctx, db.Pool)
	// Output:
	// pending: false
	// sold: 6
	// behind position 2
	// sold: 2
}

// The read model is built anew beside the one that is live, by the workers that run, and takes its place.
func ExampleRebuild() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	db := withSales(ctx)
	defer db.Close()
	if _, err := db.Pool.Exec(ctx, `update sales set sold = 17`); err != nil { // a mistake made by hand
		panic(err)
	}
	worker, err := rouse.New(db.Pool, rouse.Config{Projections: []rouse.Projection{sales{}}})
	if err != nil {
		panic(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- worker.Run(ctx) }()

	if err := projection.Rebuild(ctx, db.Pool, "sales", "", nil); err != nil {
		panic(err)
	}
	show(ctx, db.Pool)
	stop()
	<-ended
	// Output: sold: 6
}

// A rebuild that nobody waits for can be looked at, and cancelled.
func ExampleStartRebuild() {
	ctx := context.Background()
	db := withSales(ctx)
	defer db.Close()

	build, err := projection.StartRebuild(ctx, db.Pool, "sales", "")
	if err != nil {
		panic(err)
	}
	fmt.Println(build.Name, "behind position", build.From, "with", build.Workers, "workers")
	fmt.Println(projection.CancelRebuild(ctx, db.Pool, "sales"))
	// Output:
	// sales@rebuild behind position 0 with 0 workers
	// <nil>
}

// A projection may begin elsewhere than at the beginning of the log, or have another number of partitions, if its checkpoints are made before
// a worker runs it.
func ExampleCreate() {
	ctx := context.Background()
	db := withSales(ctx)
	defer db.Close()

	behind, err := projection.Create(ctx, db.Pool, "mails", rouse.Now, 64)
	if err != nil {
		panic(err)
	}
	fmt.Println("mails begins behind position", behind)
	from, err := projection.Resize(ctx, db.Pool, "mails", 128)
	if err != nil {
		panic(err)
	}
	fmt.Println("it had", from, "partitions")
	if err := projection.Rename(ctx, db.Pool, "mails", "letters"); err != nil {
		panic(err)
	}
	fmt.Println(projection.Drop(ctx, db.Pool, "letters", false))
	// Output:
	// mails begins behind position 3
	// it had 64 partitions
	// <nil>
}

// An event that stops a projection can be passed over.
func ExampleSkip() {
	ctx := context.Background()
	db := withSales(ctx)
	defer db.Close()

	sell(ctx, db.Pool, 2) // positions 4 and 5
	if err := projection.Skip(ctx, db.Pool, "sales", 4); err != nil {
		panic(err)
	}
	drain(ctx, db.Pool, rouse.Config{Projections: []rouse.Projection{sales{}}})
	show(ctx, db.Pool)
	// Output: sold: 8
}
