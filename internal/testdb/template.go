package testdb

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rouse-es/rouse/migrations"
)

// objectInUse is the SQLSTATE of a database with open connections.
const objectInUse = "55006"

// byFiles has the server copy the files of a database. Where nothing is said it writes each page to its log too, which is more work. The
// checkpoints that belong to a copy cost little where nothing need reach the disk.
const byFiles = " strategy file_copy"

//go:embed sql/template_lock.sql
var templateLockSQL string

// emptyDatabase makes a database without a schema. The locale is C, so that
// every server sorts alike.
func emptyDatabase(ctx context.Context, conn *pgx.Conn, name string) error {
	_, err := conn.Exec(ctx, "create database "+quote(name)+" template template0 encoding 'UTF8' lc_collate 'C' lc_ctype 'C'"+byFiles)
	return err
}

// CreateDatabase makes a database without a schema on a server, given by the URL of a maintenance database, as the databases of
// tests are made.
func CreateDatabase(ctx context.Context, server, name string) error {
	return WithConn(ctx, server, func(ctx context.Context, conn *pgx.Conn) error { return emptyDatabase(ctx, conn, name) })
}

// ensureTemplate returns the name of a template database with the current
// schema on the server, made if it is not there. Several test binaries may do
// this at once.
func ensureTemplate(server string) (string, error) {
	name, err := templateName()
	if err != nil {
		return "", err
	}
	err = WithConn(context.Background(), server, func(ctx context.Context, conn *pgx.Conn) error {
		// A session lock, because CREATE DATABASE cannot be in a transaction.
		// The end of the connection releases it.
		if _, err := conn.Exec(ctx, templateLockSQL, name); err != nil {
			return err
		}
		var there bool
		err := conn.QueryRow(ctx, "select exists (select from pg_database where datname = $1)", name).Scan(&there)
		if err != nil || there {
			return err
		}
		return makeTemplate(ctx, conn, server, name)
	})
	if err != nil {
		return "", fmt.Errorf("testdb: making the template database: %w", err)
	}
	return name, nil
}

// templateName depends on the schema, so that binaries with different schemas
// can share a server.
func templateName() (string, error) {
	var schema bytes.Buffer
	if err := migrations.Print(&schema); err != nil {
		return "", fmt.Errorf("testdb: reading the schema: %w", err)
	}
	sum := sha256.Sum256(schema.Bytes())
	return "rouse_template_" + hex.EncodeToString(sum[:6]), nil
}

// makeTemplate builds the template under another name first, so that a template
// under its own name is always complete.
func makeTemplate(ctx context.Context, conn *pgx.Conn, server, name string) error {
	building := name + "_new"
	if err := dropDatabase(ctx, conn, building); err != nil {
		return err
	}
	if err := emptyDatabase(ctx, conn, building); err != nil {
		return err
	}
	address, err := databaseURL(server, building)
	if err != nil {
		return err
	}
	if err := migrate(ctx, address); err != nil {
		return err
	}
	// Nobody can connect to it any more, so nobody can be in the way of a copy.
	for _, sql := range []string{
		"alter database " + quote(building) + " allow_connections false",
		"alter database " + quote(building) + " rename to " + quote(name),
	} {
		if err := whileInUse(ctx, func() error {
			_, err := conn.Exec(ctx, sql)
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// migrate brings the schema into the database.
func migrate(ctx context.Context, address string) error {
	return WithConn(ctx, address, func(ctx context.Context, conn *pgx.Conn) error {
		_, err := migrations.Up(ctx, conn)
		return err
	})
}

// copyTemplate makes a database with the schema.
func copyTemplate(ctx context.Context, conn *pgx.Conn, template, name string) error {
	return whileInUse(ctx, func() error {
		_, err := conn.Exec(ctx, "create database "+quote(name)+" template "+quote(template)+byFiles)
		return err
	})
}

// dropDatabase removes a database if it is there, connected clients and prepared
// transactions or not.
func dropDatabase(ctx context.Context, conn *pgx.Conn, name string) error {
	return whileInUse(ctx, func() error {
		_, err := conn.Exec(ctx, "drop database if exists "+quote(name)+" with (force)")
		return err
	})
}

// whileInUse repeats f while the server says that the database is in use, which
// passes: a backend that is on its way out, autovacuum, a copy that others make.
func whileInUse(ctx context.Context, f func() error) error {
	pause := 10 * time.Millisecond
	for attempt := 1; ; attempt++ {
		err := f()
		if !hasState(err, objectInUse) || attempt == 10 {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(pause):
			pause = min(2*pause, time.Second)
		}
	}
}

func hasState(err error, state string) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == state
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }
