package integration_test

import (
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
)

// operationsSQL are the SQL blocks under one heading of docs/operations.md.
func operationsSQL(t *testing.T, heading string) []string {
	t.Helper()
	_, section, found := strings.Cut(readText(t, checkout(t), "docs", "operations.md"), "\n"+heading+"\n")
	require.True(t, found, "there is no heading %q", heading)
	section = regexp.MustCompile(`(?s)\n#+ .*`).ReplaceAllString(section, "")
	var blocks []string
	for _, m := range regexp.MustCompile("(?s)\n```sql\n(.*?)\n```").FindAllStringSubmatch(section, -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// TestOperationsSQLWorks: the rights that the page names are enough, and its way to build a read model anew is one.
func TestOperationsSQLWorks(t *testing.T) {
	t.Parallel()
	rights, anew := operationsSQL(t, "### Rights"), operationsSQL(t, "### Building a read model anew")
	require.Len(t, rights, 1)
	require.Len(t, anew, 1)
	binary := buildRouse(t)
	server := testdb.Server(t, nil)
	ctx, cancel := context.WithTimeout(context.Background(), readmePatience)
	defer cancel()
	require.NoError(t, server.CreateDatabase(ctx, "shop"))
	address := func(role string) string {
		u, err := url.Parse(server.URL("shop"))
		require.NoError(t, err)
		u.User = url.User(role)
		u.RawQuery += "&search_path=rouse"
		return u.String()
	}
	connect := func(role string) *pgx.Conn {
		conn, err := pgx.Connect(ctx, address(role))
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
		return conn
	}
	run := func(role string, args ...string) string {
		cmd := exec.CommandContext(ctx, binary, args...)
		cmd.Env = append(os.Environ(), "DATABASE_URL="+address(role))
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%v as %s: %s", args, role, out)
		return string(out)
	}
	owner := connect("postgres")
	script := func(sql string) {
		_, err := owner.PgConn().Exec(ctx, sql).ReadAll()
		require.NoError(t, err, sql)
	}
	script(`create role app_owner login; create role app_writer login; create role app_worker login; create role app_reader login;
		create schema rouse authorization app_owner`)
	run("app_owner", "migrate")
	script(rights[0])
	script("grant create on schema rouse to app_worker") // for the table of the built-in projection
	run("app_worker", "worker", "--once")
	script("revoke create on schema rouse from app_worker")

	writer := connect("app_writer")
	require.NoError(t, pgx.BeginFunc(ctx, writer, func(tx pgx.Tx) error {
		for range 3 {
			_, err := eventstore.Append(ctx, tx, eventstore.Stream{Type: "order", ID: "o-1"}, eventstore.Any(),
				eventstore.NewEvent{Type: "OrderPlaced", Payload: []byte(`{}`)})
			if err != nil {
				return err
			}
		}
		return nil
	}))
	_, err := writer.Exec(ctx, `insert into events (global_position, aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		overriding system value values (1000, 'order', 'o-2', 1, 'OrderPlaced', '{}')`)
	require.ErrorContains(t, err, "permission denied", "nobody chooses a position")

	counted := func() (n int64) {
		require.NoError(t, owner.QueryRow(ctx, "select coalesce(sum(events), 0)::bigint from scaling_activity").Scan(&n))
		return n
	}
	run("app_worker", "worker", "--once")
	assert.EqualValues(t, 3, counted())
	assert.Contains(t, run("app_reader", "status"), "lag 0 events")
	assert.Regexp(t, `(?m)^ok +rights `, run("app_worker", "doctor"))
	assert.Contains(t, run("app_worker", "parked", "discard", "--all", "--yes"), "no such event")

	script(anew[0])
	assert.Zero(t, counted())
	run("app_worker", "worker", "--once")
	assert.EqualValues(t, 3, counted())
}

// buildRouse makes the command.
func buildRouse(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), readmePatience)
	defer cancel()
	binary := filepath.Join(t.TempDir(), "rouse")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "./cmd/rouse")
	build.Dir = checkout(t)
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return binary
}

// TestOperationsExplainsEveryMessage: what a worker logs as a warning or an error is in the table, under its level, and
// nothing else is.
func TestOperationsExplainsEveryMessage(t *testing.T) {
	t.Parallel()
	root := checkout(t)
	explained := map[string]string{} // message -> level
	row := regexp.MustCompile(`(?m)^\| (error|warn) \| ([^|]+?) \|`)
	for _, m := range row.FindAllStringSubmatch(readText(t, root, "docs", "operations.md"), -1) {
		explained[m[2]] = m[1]
	}
	logged := regexp.MustCompile(`(?s)[lL]og\.(Warn|Error)\(\).{0,300}?\.?Msg\("([^"]+)"`)
	used := map[string]bool{}
	for _, folder := range []string{".", "catchup", "listener", "partition"} {
		files, err := filepath.Glob(filepath.Join(root, folder, "*.go"))
		require.NoError(t, err)
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			for _, m := range logged.FindAllStringSubmatch(readText(t, file), -1) {
				found := false
				for message, level := range explained {
					if strings.HasPrefix(m[2], message) && strings.EqualFold(level, m[1]) {
						found, used[message] = true, true
					}
				}
				assert.True(t, found, "docs/operations.md does not explain: %s: %s", strings.ToLower(m[1]), m[2])
			}
		}
	}
	assert.Len(t, used, len(explained), "it explains only what is logged: %v", explained)
	assert.GreaterOrEqual(t, len(used), 10)
}

// TestOperationsListsTheExitCodes as the command itself does.
func TestOperationsListsTheExitCodes(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), readmePatience)
	defer cancel()
	help, err := exec.CommandContext(ctx, buildRouse(t), "help").Output()
	require.NoError(t, err)
	page := readText(t, checkout(t), "docs", "operations.md")
	codes := regexp.MustCompile(`(?m)^ +(\d+)  (.+)$`).FindAllStringSubmatch(string(help), -1)
	require.GreaterOrEqual(t, len(codes), 5)
	for _, code := range codes {
		assert.Contains(t, page, "\n| "+code[1]+" | "+code[2], "exit code %s", code[1])
	}
}
