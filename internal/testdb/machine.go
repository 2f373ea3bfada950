package testdb

import (
	"context"

	"github.com/rouse-es/rouse/internal/pgserver"
)

// Machine is a PostgreSQL server that a test may break: a private one from
// Server, or one in a container (test/containers). It keeps its port through every
// fault. The methods mean the same for both, and fail with the errors of
// pgserver: ErrNotRunning, ErrRunning and ErrStopped.
type Machine interface {
	// URL is the address of a database, for a superuser. It may hold a
	// password: it does not belong in logs.
	URL(database string) string
	// Port is the TCP port on 127.0.0.1.
	Port() int
	// Major is the major version of PostgreSQL, such as 15.
	Major() int
	// CreateDatabase makes an empty database in UTF8.
	CreateDatabase(ctx context.Context, name string) error
	// Crash ends the server as a failure would, without a word to its clients
	// or its disk. The data stay for Restart.
	Crash(ctx context.Context) error
	// Halt ends the server in order and disconnects its clients. The data stay
	// for Restart.
	Halt(ctx context.Context) error
	// Restart starts the server again after Crash or Halt, and returns when it
	// answers.
	Restart(ctx context.Context) error
	// Pause freezes the server: connections stay open, nothing answers. A
	// second Pause does nothing.
	Pause() error
	// Resume ends Pause. Without a Pause it does nothing.
	Resume() error
	// Stop ends the server for good and removes its data. Further calls do
	// nothing.
	Stop(ctx context.Context) error
}

var _ Machine = (*pgserver.Server)(nil)
