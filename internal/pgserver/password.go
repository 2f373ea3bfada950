package pgserver

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
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

	// rounds is how many times a client hashes the password for each connection that it opens. 4096, which is usual, makes a password
	// dear to guess that people have chosen. One of 130 random bits cannot be guessed anyway, and a test binary with the race detector
	// would spend 17 ms on each of thousands of connections. Drivers such as lib/pq refuse fewer than 1000.
	rounds = 1000
)

// protect gives the superuser a new random password and lets nobody in without one. The server must not run, and a server that
// runs on the same data makes it fail before anything has changed. The password is in no command line, no address and no log:
// single-user mode reads it from its standard input, and clients from passFile.
func (s *Server) protect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*startTimeout) // it may have to recover first
	defer cancel()
	password := rand.Text()
	secret, err := secretOf(password)
	if err != nil {
		return err
	}
	args := append([]string{"--single"}, arguments(s.dataDir, lowestPort, s.cluster, s.settings)...)
	output := &process.Lines{}
	cmd := s.keeper.command(ctx, s.dataDir, s.bin.postgres(), append(args, "postgres")...)
	cmd.Stdin = strings.NewReader("alter role postgres password '" + secret + "'\n")
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("pgserver: setting a password in single-user mode: %w; its last lines:\n%s", errors.Join(err, ctx.Err()), output)
	}
	return errors.Join(
		s.writeFile("pg_hba.conf", hostRules),
		s.writeFile(passFile, "*:*:*:postgres:"+password+"\n"),
	)
}

// secretOf returns what PostgreSQL keeps of a password (RFC 5803), with a new salt.
func secretOf(password string) (string, error) {
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // which never fails
	salted, err := pbkdf2.Key(sha256.New, password, salt, rounds, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("pgserver: hashing a password: %w", err)
	}
	keyed := func(key []byte, text string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	stored := sha256.Sum256(keyed(salted, "Client Key"))
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", rounds, encode(salt), encode(stored[:]), encode(keyed(salted, "Server Key"))), nil
}

// passPath is where clients find the password.
func (s *Server) passPath() string { return filepath.Join(s.dataDir, passFile) }
