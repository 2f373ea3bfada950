// Package aggregate carries out commands: it reads the events of one aggregate, folds them into a state, lets the caller decide, and
// appends what was decided, if nothing else was appended to the stream meanwhile.
//
//	appended, err := aggregate.Execute(ctx, pool, eventstore.Stream{Type: "account", ID: "7"}, Account.Fold,
//		func(a Account) ([]any, error) {
//			if a.Balance < 100 {
//				return nil, ErrTooLittle
//			}
//			return []any{Withdrawn{Cents: 100}}, nil
//		})
//
// The events are values of types that are registered with package events. A command that loses against another writer is tried again
// from the beginning: it reads what came, and decides anew. So a decision is always made on all that is in the stream, and no
// lock is held while it is made.
//
// What Execute returns is the argument of rouse.WaitFor, for a caller that wants to read its own write from a read model.
//
// # The two functions
//
// The fold returns the state after an event, and begins with the zero value of its type. It has no errors: an event is a
// fact. Give a field that is a map or a slice its first value there. The decision gets a state that nobody else has. Both
// may be called several times for one command, so they do nothing outside of their values.
//
// # Long streams
//
// Events are read in parts, so a stream of any length takes little memory, but as long as its length says. Snapshot keeps the state
// now and then, so that only the events behind it are read. A snapshot is never needed: one that is missing, of another version, or cannot be read
// is left alone, and the stream is read from its beginning. The exception is a stream whose first events have left the log
// (retention.Prune): without a snapshot that covers them it is refused, because half a history has no state.
package aggregate
