package pgserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/rouse-es/rouse/internal/process"
)

const (
	// hostRules let in who knows a password, for replication as well. Other users of this machine reach the port, and a superuser
	// of PostgreSQL runs programs as the account of the server.
	hostRules = "# Written at every start.\n" +
		"local all all reject\n" +
		"host all all 127.0.0.1/32 scram-sha-256\n" +
		"host replication all 127.0.0.1/32 scram-sha-256\n"

	// passFile holds the password of the superuser, in the form of PGPASSFILE. It is in the data folder, which nobody but the
	// account of the server (and root) may enter.
	passFile = "rouse_pgpass"
)

// protect gives the superuser a new random password and lets nobody in without one. The server must not run, and a server that
// runs on the same data makes it fail before anything has changed. The password is in no command line, no address and no log:
// single-user mode reads it from its standard input, and clients from passFile.
func (s *Server) protect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*startTimeout) // it may have to recover first
	defer cancel()
	password := rand.Text()
	args := append([]string{"--single"}, arguments(s.dataDir, lowestPort, s.cluster, s.settings)...)
	output := &process.Lines{}
	cmd := s.keeper.command(ctx, s.dataDir, s.bin.postgres(), append(args, "postgres")...)
	cmd.Stdin = strings.NewReader("alter role postgres password '" + password + "'\n")
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("pgserver: setting a password in single-user mode: %w; its last lines:\n%s", errors.Join(err, ctx.Err()), output)
	}
	return errors.Join(
		s.writeFile("pg_hba.conf", hostRules),
		s.writeFile(passFile, "*:*:*:postgres:"+password+"\n"),
	)
}

// passPath is where clients find the password.
func (s *Server) passPath() string { return filepath.Join(s.dataDir, passFile) }
