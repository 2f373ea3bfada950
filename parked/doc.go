// Package parked lists the events that a projection has set aside because their handler failed, has them handled again, or
// gives them up. It is for operators and their tools: rouse parked does what it does by List, Retry and Discard, and a program
// may do the same. The role needs the rights of rouse_worker.
//
// The events of one order are handled again once its handler is mended:
//
//	f := parked.Filter{Projection: "orders", Aggregate: eventstore.Stream{Type: "order", ID: "4711"}}
//	events, err := parked.List(ctx, pool, f, 0)
//	if err != nil {
//		return err
//	}
//	for _, ev := range events {
//		log.Printf("%d %s: %s", ev.Position, ev.Type, ev.Error)
//	}
//	_, err = parked.Retry(ctx, pool, f)
//
// # What keeps the order
//
// Behind each event that was set aside stand the later events of the same aggregate, so that no event of an aggregate is
// handled before an earlier one. Events are set aside by the worker that owns their partition, in the transaction that moves
// the checkpoint past them, and handled again by it when Retry has asked for that. Whoever changes the queue locks the
// checkpoint row of the partition first, as the worker's save does: between the look at the queue and the commit that acts on
// it nothing can slip.
package parked
