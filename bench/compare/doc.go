// Package compare gives the same work to Rouse, to watermill-sql, to River and to a worker of the kind that is written first, on one server
// and in turn: a history to work through, events to be told of, and writers to keep up with.
//
// Each side has a schema of its own with its own log, as its makers have it, and the same read model: a count for each
// aggregate. What a side has handled is looked up in the read model. It is a module of its own so that nobody who uses Rouse
// receives the others.
package compare
