// Package projection makes projections of functions that take typed events, and has the verbs by which the projections of a database are
// listed and kept.
//
// # Projections of typed handlers
//
// New makes a rouse.Projection, and NewEffect a rouse.Effect, of one handler for each Go type that package events knows:
//
//	var orders = projection.New("orders",
//		projection.On(func(ctx context.Context, tx pgx.Tx, e OrderPlaced, ev eventstore.Event) error {
//			_, err := tx.Exec(ctx, "insert into orders (id, cents) values ($1, $2)", ev.AggregateID, e.Cents)
//			return err
//		}),
//		projection.On(func(ctx context.Context, tx pgx.Tx, _ OrderCancelled, ev eventstore.Event) error {
//			_, err := tx.Exec(ctx, "delete from orders where id = $1", ev.AggregateID)
//			return err
//		}),
//		projection.Tables("orders"))
//
// A handler sees values of the current version only, whatever version was stored. Queue is the form for statements that need no answer; where all
// handlers are of this form, the statements of many events travel together. The options say what the optional interfaces of package rouse
// say. A projection that is written as a type of its own is as good, and may use package events as well.
//
// # Verbs
//
// The rest is for operators and their tools: rouse projection does what it does by the functions of this package, and a program may do the same.
//
// Every function takes a pool of the database, whose schema is current (migrations.Check), and the name of a projection or
// effect that has run there at least once; a name that is not known gives ErrNoProjection. Workers need not run, and those
// that do notice a change by themselves, within a second. The role needs the rights of rouse_worker; Resize, which makes and
// removes checkpoints, those of the owner of the tables.
//
// The read model of orders is made anew from the beginning of the log:
//
//	if _, err := projection.Reset(ctx, pool, "orders", 0, false); err != nil {
//		return err
//	}
//	last, err := projection.LastReset(ctx, pool, "orders")
//	// last.Pending: the next worker that runs orders empties the read model and starts over.
//	// last.Reason: why none has, such as a projection that is no rouse.Resetter, or the error of its Reset.
//
// # What keeps a change safe
//
// Pause, Reset and Skip take the partitions that they concern from their owners under a new epoch, in the transaction that
// writes the wish down. A batch in hand cannot save after that (package partition), so it is rolled back, and handled again or
// left alone as the wish says. All transactions commit synchronously: what has returned survives a crash of the server.
//
// Events that were set aside because their handler failed are the matter of package parked.
package projection
