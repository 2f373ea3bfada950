// Package browser_test looks at the dashboard as people do: in a real browser.
package browser_test

import (
	"context"
	"os/exec"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
	"github.com/rouse-es/rouse/test/checkout"
)

func TestMain(m *testing.M) { testdb.Main(m) }

const (
	processTimeout = 2 * time.Minute
	// tokenVariable holds the token of --http.
	tokenVariable = "ROUSE_HTTP_TOKEN"
)

// program is the command, on a database.
type program struct {
	binary string
	db     *testdb.DB
}

// newProgram builds the command for a database of its own.
func newProgram(t *testing.T) program {
	t.Helper()
	return program{checkout.Rouse(t), testdb.New(t)}
}

// start starts rouse with only those variables of this process that do not concern it, and kills it at the end of the test.
func (p program) start(t *testing.T, env []string, args ...string) *workertest.Program {
	t.Helper()
	cmd := exec.Command(p.binary, args...)
	cmd.Env = append(append(workertest.Environ(), "DATABASE_URL="+p.db.URL), env...)
	cmd.Dir = t.TempDir()
	return workertest.StartProgram(t, cmd)
}

// must runs a command that must succeed.
func (p program) must(t *testing.T, args ...string) {
	t.Helper()
	r := p.start(t, nil, args...)
	require.Zero(t, r.Wait(t), "rouse %v: %s", args, &r.Stderr)
}

// versions appends events of an aggregate.
func (p program) versions(t *testing.T, id string, from, to int) {
	t.Helper()
	p.exec(t, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 'user', $1::text, n, 'UserRegistered', '{"name": "s3cret"}' from generate_series($2::int, $3::int) n`, id, from, to)
}

// handled is how many events of an aggregate the built-in projection has counted.
func (p program) handled(t *testing.T, id string) int {
	t.Helper()
	return value[int](t, p.db.Pool, "select coalesce(sum(events), 0)::int from scaling_activity where aggregate_id = $1", id)
}

func (p program) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := p.db.Pool.Exec(context.Background(), sql, args...)
	require.NoError(t, err, sql)
}

// value reads one value.
func value[T any](t *testing.T, pool *pgxpool.Pool, sql string, args ...any) (v T) {
	t.Helper()
	require.NoError(t, pool.QueryRow(context.Background(), sql, args...).Scan(&v), sql)
	return v
}
