package database

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/rouse-es/rouse/internal/pgserver"
)

const (
	// serverTimeout is for starting the embedded server, which may have to be fetched first, and serverStopTimeout for its end.
	serverTimeout     = 10 * time.Minute
	serverStopTimeout = time.Minute
)

// StartServer starts a server of this program's own and points d at a new database on it. Call ForgetPG before.
func (d *Database) StartServer(ctx context.Context, cfg pgserver.Config) (*pgserver.Server, error) {
	ctx, cancel := context.WithTimeout(ctx, serverTimeout)
	defer cancel()
	server, err := pgserver.Start(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := server.CreateDatabase(ctx, "rouse"); err != nil {
		return nil, errors.Join(err, StopServer(context.WithoutCancel(ctx), server))
	}
	d.URL = server.URL("rouse") // it names the file of the password
	return server, nil
}

// StopServer ends a server in order and takes its data away.
func StopServer(ctx context.Context, server *pgserver.Server) error {
	ctx, cancel := context.WithTimeout(ctx, serverStopTimeout)
	defer cancel()
	return server.Stop(ctx)
}

// ForgetPG unsets the PG* variables, which speak of another server than the one that is started here, and returns the names
// of those that would have led to it.
func ForgetPG() (set []string) {
	for _, variable := range os.Environ() {
		name, value, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, "PG") {
			continue
		}
		if value != "" && slices.Contains([]string{"PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGSERVICE"}, name) {
			set = append(set, name)
		}
		_ = os.Unsetenv(name) // it is there
	}
	slices.Sort(set)
	return set
}
