// Package parked keeps the events that a projection has set aside because their handler failed, and behind each of them the
// later events of the same aggregate, so that no event of an aggregate is handled before an earlier one.
//
// Events are set aside by the worker that owns their partition, in the transaction that moves the checkpoint past them, and
// handled again by it when somebody asks for that with Retry. Whoever changes the queue locks the checkpoint row of the
// partition first, as the worker's save does: between the look at the queue and the commit that acts on it nothing can slip.
package parked
