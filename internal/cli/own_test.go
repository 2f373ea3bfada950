package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"

	"github.com/rouse-es/rouse/internal/database"
	"github.com/rouse-es/rouse/internal/script"
)

// TestErrorsOfOthersAreNotThoseOfTheDatabase: what a program's own code has called keeps its words, and PostgreSQL is not said to be
// away, nor the schema to be broken, where something else is.
func TestErrorsOfOthersAreNotThoseOfTheDatabase(t *testing.T) {
	t.Parallel()
	db := &database.Database{URL: "postgres://u:s3cret@db.example:5432/shop"}
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	for name, tc := range map[string]struct {
		err   error
		code  int
		holds string
		never string
	}{
		"mail server":   {fmt.Errorf("greet the mail server: %w", refused), exitOther, "greet the mail server: dial tcp", "PostgreSQL"},
		"http":          {fmt.Errorf("ask the tax office: %w", &url.Error{Op: "Get", URL: "http://tax", Err: io.EOF}), exitOther, "ask the tax office", "PostgreSQL"},
		"too late":      {fmt.Errorf("ask the tax office: %w", context.DeadlineExceeded), exitOther, "ask the tax office", "PostgreSQL"},
		"a short file":  {fmt.Errorf("read orders.json: %w", io.ErrUnexpectedEOF), exitDatabase, "read orders.json: unexpected EOF (if that was", "lost"},
		"its own table": {fmt.Errorf("look for the mails: %w", &pgconn.PgError{Code: "42P01", Message: `relation "mails" does not exist`}), exitSchema, "look for the mails", "migrate"},
		"the server":    {fmt.Errorf("count: %w", &pgconn.PgError{Code: "57P01", Message: "terminating connection"}), exitDatabase, "ended the connection", "s3cret"},
	} {
		code, sentence := explain(db, own(tc.err))
		assert.Equal(t, tc.code, code, name)
		assert.Contains(t, sentence, tc.holds, name)
		assert.NotContains(t, sentence, tc.never, name)
		assert.NotContains(t, sentence, "s3cret", name)
	}
	code, sentence := explain(db, &script.Error{Name: "0003_orders.sql", Err: fmt.Errorf("timeout: %w", context.DeadlineExceeded)})
	assert.Equal(t, exitOther, code)
	assert.Contains(t, sentence, "the migration 0003_orders.sql did not end within 2m0s", "and not that the database does not answer")
	_, sentence = explain(db, refused)
	assert.Contains(t, sentence, "PostgreSQL at db.example:5432", "what is ours is")
	assert.NoError(t, own(nil))
	assert.ErrorIs(t, own(errLate), errLate)
	assert.False(t, errors.Is(own(errLate), errFindings))
}
