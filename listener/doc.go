// Package listener is the push: it wakes readers when there may be something to read, at no cost to writers that are busy.
//
// A NOTIFY makes its transaction hold a cluster-wide lock until the commit is flushed, so a log that notifies on every
// commit commits one at a time. Here an append notifies only if somebody sleeps. A process that may sleep holds the shared
// advisory lock S on its LISTEN connection (it is armed, and the server drops S with the connection); the push trigger
// probes S without waiting.
//
// # States
//
//	Polling   not listening, or what listens is not proven yet; readers poll
//	Quiet     armed: S is held, an append notifies, readers sleep between wakes
//	Torrent   S is released: the log moves fast or appends queue, so readers read every few milliseconds and no writer pays
//	Deaf      the connection was proven not to deliver: it is closed and opened again; readers poll
//
// # Arming
//
// S is taken in a handler, the only code that may use the connection, together with a look at the head of the log. An append
// that found nobody asleep may commit after that, and will not notify; so a reader may sleep only once everything up to that
// head is settled (State.ArmedHead). Appends that take a position later probe later and find S.
//
// # Proof
//
// LISTEN through a transaction pooler succeeds and delivers nothing, and a session-level lock taken there would stay on a
// connection that others use. So nothing is locked before a notification sent from another connection has arrived, and one
// is sent every few seconds from then on. A connection on which it does not arrive is deaf. A self-notification proves
// nothing, nor does pg_listening_channels().
package listener
