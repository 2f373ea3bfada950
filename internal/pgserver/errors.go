package pgserver

import "errors"

var (
	// ErrUnsupported is returned by Start on systems without Unix processes.
	ErrUnsupported = errors.New("pgserver: running a private PostgreSQL is not supported on this system; " +
		"start PostgreSQL yourself and give its address in DATABASE_URL")

	// ErrNoPostgres is returned by Start when no usable PostgreSQL was found
	// and none could be fetched.
	ErrNoPostgres = errors.New("pgserver: no PostgreSQL found")

	// ErrRunning is returned by Restart while the server runs.
	ErrRunning = errors.New("pgserver: the server is running; call Halt or Crash before Restart")

	// ErrNotRunning is returned by calls that need a running server after Halt
	// or Crash, or after postgres ended by itself.
	ErrNotRunning = errors.New("pgserver: the server is not running; call Restart")

	// ErrStopped is returned by every call after Stop.
	ErrStopped = errors.New("pgserver: the server is stopped for good; call Start for a new one")
)
