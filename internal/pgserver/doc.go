// Package pgserver runs a private PostgreSQL server as a child of this
// process: for a first try without an installation, for demonstrations and
// for tests.
//
// # Life and death
//
// A server consists of two children of this process in one process group of
// their own, so that Ctrl+C at a terminal reaches this process only and it can
// stop things in order:
//
//	this process ──┬── keeper   (sh) leads the group, made the temporary folder
//	               └── postgres      joins the group
//
// The keeper exists for the one case in which this process cannot clean up:
// when it dies, also by SIGKILL. Two pipes tell the keeper all it needs.
//
//   - The life line is the keeper's standard input. This process holds the only
//     write end, so its death is the end of that file. The keeper then signals
//     its group until nothing is left in it.
//   - The second pipe counts references. This process and everything it starts
//     for the server inherit the write end, so its end of file proves that the
//     last of them is gone. Only then the keeper removes the temporary folder.
//
// No process id is remembered or guessed on that way. An orderly Stop takes the
// same way out, it only tells the keeper that there is nothing to signal.
// It waits for a slow end: the removal of a large folder on a busy disk, or
// processes that get no processor for long. Only processes that sleep, and go
// on sleeping, are reported as a fault.
//
// The backends of PostgreSQL leave the process group, but not their parent:
// they go when it goes, and Pause finds them by it.
//
// # Strangers
//
// Every user of the machine reaches the port, and a superuser of PostgreSQL may run programs as the account of the server. So
// nobody comes in without a password (scram-sha-256), which is new and random with every Start. It is in a file in the data
// folder, which nobody else may enter; the addresses that URL returns name the file.
//
// # Root
//
// PostgreSQL refuses to run as root. When this process is root, everything is
// started as the owner of the data folder, else as the user postgres, else as
// nobody, and temporary folders are made where that user can reach them.
//
// # Systems
//
// Any Unix. On other systems the package compiles, and Start returns
// ErrUnsupported.
package pgserver
