package main

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

// startServer starts a server of this program's own, and points the app and its children at a new database on it. Call
// forgetPG before.
func (a *app) startServer(ctx context.Context, cfg pgserver.Config) (*pgserver.Server, error) {
	ctx, cancel := context.WithTimeout(ctx, serverTimeout)
	defer cancel()
	server, err := pgserver.Start(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := server.CreateDatabase(ctx, "rouse"); err != nil {
		return nil, errors.Join(err, stopServer(context.WithoutCancel(ctx), server))
	}
	a.databaseURL = server.URL("rouse") // there is no password in it
	return server, nil
}

func stopServer(ctx context.Context, server *pgserver.Server) error {
	ctx, cancel := context.WithTimeout(ctx, serverStopTimeout)
	defer cancel()
	return server.Stop(ctx)
}

// forgetPG unsets the PG* variables, which speak of another server than the one that is started here, and returns the names
// of those that would have led to it.
func forgetPG() (set []string) {
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
