package testdb

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/migrations"
)

// At returns a database with an earlier version of the schema, as a binary of that version has left it.
func At(t testing.TB, version int) *DB {
	t.Helper()
	db := Empty(t)
	var script strings.Builder
	if err := migrations.Print(&script); err != nil {
		t.Fatal(err)
	}
	until, _, is := strings.Cut(script.String(), fmt.Sprintf("\n-- %04d ", version+1))
	if !is {
		t.Fatalf("testdb: there is no version after %d, use New", version)
	}
	if err := WithConn(context.Background(), db.URL, func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.PgConn().Exec(ctx, until+"\ncommit").ReadAll()
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return db
}
