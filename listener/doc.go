// Package listener is the push: it wakes readers when there may be events to read, at no cost to writers that are busy.
//
// This package is the worker's mechanism. It is public so that it can be read and tested by itself; it may change in
// any release.
//
// A NOTIFY makes its transaction hold a cluster-wide lock until the commit is flushed, so a log that notifies on every
// commit commits one at a time. Here an append notifies only if a reader sleeps. A process that may sleep holds the
// shared advisory lock S on its LISTEN connection (it is armed, and the server drops S with the connection); the push
// trigger probes S without waiting.
//
// # States
//
//	Polling   not listening, or the listening connection is not proven yet; readers poll
//	Quiet     armed: S is held, an append notifies, readers sleep between wakes
//	Torrent   S is released: the log moves fast or appends queue, so readers read all the time and no writer pays
//	Deaf      the connection was proven not to deliver: it is closed and opened again; readers poll
//
// # One connection, any number of logs
//
// A Connection listens for all logs of a database; a Listener is one log, with S, a mode and readers of its own. A Listener
// without a Connection opens one for itself. Logs come and go while a connection runs: what has to be done for them is done in
// a handler, the only code that may use the connection, whenever a probe arrives, and who enters or leaves asks for one. So
// two hundred logs that enter together are one probe, one round trip that listens and two that arm, and none of them makes the
// connection of the others be opened anew.
//
// A torrent is a loop inside a handler, which takes in the notifications of all logs; every 100 ms it looks which torrents are
// over. It waits for nothing but notifications, so no log holds up another.
//
// # Arming
//
// S is taken in the handler, and then the head of the log is looked at. An append that found no sleeping reader may commit
// after that, and will not notify; so a reader may sleep only once everything up to that head is settled (State.ArmedHead).
// Appends that take a position later probe later and find S. S is never waited for: appends that probe hold it for
// microseconds, so it is tried again for two seconds, and after that with each probe. A log that cannot be armed polls, and
// if there is no other the connection is opened again, with growing pauses.
//
// # Proof
//
// LISTEN through a transaction pooler succeeds and delivers nothing, and a session-level lock taken there would stay on
// a connection that others use. So nothing is locked before a notification sent from another connection has arrived,
// and one is sent every seven seconds from then on. A connection on which it does not arrive is deaf. A self-notification
// proves nothing, nor does pg_listening_channels(). On a connection that is proven to be a direct one, the notification of an
// append proves as much as a probe: it was sent from another session, and it arrived. So it stands in for the next probe,
// but not for longer than 28 seconds, or a second for each member, because a probe also looks at the server's notification queue and is
// when what has failed is tried again. In a torrent no append stands in for it.
//
// A probe stands in for those of other processes in the same way. It goes to a channel to which all of them listen, and whoever sent the
// last one sends the next (together.go). So many processes at rest are one that probes.
//
// Before the first proof the connection listens to the probes alone, and everything it sends has a time limit, the LISTEN of
// pgxlisten too.
package listener
