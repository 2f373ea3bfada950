// Package await lets any process wait until a projection has handled something, without a loop that asks: the waiters of a process
// tell the workers what they wait for (an ask), and workers that were asked tell with each save how far they have come (a reply).
//
// A [Hub] is the waiters' side, one for each process and pool; an [Asked] is the workers' side, one for each projection of a process.
// Both are notifications, on two channels of each log. Either may be lost: what the database says rules, and is looked at when a
// waiter comes, when a reply cannot be trusted, and after growing pauses. While nobody waits, nothing of this costs a statement.
//
// # When a reply is enough
//
// A reply says that everything up to a position is handled in some partitions. A waiter believes it without a look if nothing can have
// escaped it: it was listening before it looked, and the worker had begun to reply before the first event that is waited for (since).
// What a worker sets aside passes the checkpoint without being handled; the reply of such a save asks for a look. So whoever hears
// all replies behind a look knows as much as the next look would say.
package await

import (
	"embed"
	"time"

	"github.com/rouse-es/rouse/internal/db"
)

//go:embed sql/*.sql
var files embed.FS

var (
	sqlLook   = db.Load(files, "look")
	sqlAsk    = db.Load(files, "ask")
	sqlEvents = db.Load(files, "events")
	sqlLast   = db.Load(files, "last")
)

// SQLReply sends a reply. $1: the channel; $2: the reply. In the transaction of a save it is heard when that has committed, and not
// otherwise. The name is qualified, because a handler may have set search_path.
const SQLReply = "select pg_catalog.pg_notify($1::text, $2::text)"

// askedFor is how long a worker replies after it was asked. Waiters ask again after askAgain, as long as there are any.
const (
	askedFor = 30 * time.Second
	askAgain = 10 * time.Second
)

// AsksChannel and RepliesChannel return the names of the channels of the log whose table of events has the oid events.
func AsksChannel(events uint32) string { return channel(events, "asks") }

// RepliesChannel is described with AsksChannel.
func RepliesChannel(events uint32) string { return channel(events, "replies") }
