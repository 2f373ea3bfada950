package integration_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/test/checkout"
)

// operationsSQL are the SQL blocks under one heading of docs/operations.md.
func operationsSQL(t *testing.T, heading string) []string {
	t.Helper()
	_, section, found := strings.Cut(readText(t, checkout.Root(t), "docs", "operations.md"), "\n"+heading+"\n")
	require.True(t, found, "there is no heading %q", heading)
	section = regexp.MustCompile(`(?s)\n#+ .*`).ReplaceAllString(section, "")
	var blocks []string
	for _, m := range regexp.MustCompile("(?s)\n```sql\n(.*?)\n```").FindAllStringSubmatch(section, -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// TestOperationsSQLWorks: the page's way to build a read model anew is one.
func TestOperationsSQLWorks(t *testing.T) {
	t.Parallel()
	anew := operationsSQL(t, "### Building a read model anew")
	require.Len(t, anew, 1)
	binary := checkout.Rouse(t)
	s := newStage(t, testdb.New(t))
	run := func(args ...string) {
		cmd := exec.CommandContext(s.ctx, binary, args...)
		cmd.Env = append(os.Environ(), "DATABASE_URL="+s.URL)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%v: %s", args, out)
	}
	counted := func() int64 { return s.int("select coalesce(sum(events), 0)::bigint from scaling_activity") }
	run("append", "--count", "3")
	run("worker", "--once")
	assert.EqualValues(t, 3, counted())
	_, err := s.Conn(t).PgConn().Exec(s.ctx, anew[0]).ReadAll()
	require.NoError(t, err)
	assert.Zero(t, counted())
	run("worker", "--once")
	assert.EqualValues(t, 3, counted())
}

// TestOperationsExplainsEveryMessage: what a worker logs as a warning or an error is in the table, under its level, and
// nothing else is.
func TestOperationsExplainsEveryMessage(t *testing.T) {
	t.Parallel()
	root := checkout.Root(t)
	explained := map[string]string{} // message -> level
	row := regexp.MustCompile(`(?m)^\| (error|warn) \| ([^|]+?) \|`)
	for _, m := range row.FindAllStringSubmatch(readText(t, root, "docs", "operations.md"), -1) {
		explained[m[2]] = m[1]
	}
	logged := regexp.MustCompile(`(?s)[lL]og\.(Warn|Error)\(\)(?:, err, |.{0,300}?\.?Msg\()"([^"]+)"`)
	used := map[string]bool{}
	for _, folder := range []string{".", "catchup", "listener", "partition", "dashboard", "internal/apply", "internal/cli", "internal/projector"} {
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
	help, err := exec.CommandContext(ctx, checkout.Rouse(t), "help").Output()
	require.NoError(t, err)
	page := readText(t, checkout.Root(t), "docs", "operations.md")
	codes := regexp.MustCompile(`(?m)^ +(\d+)  (.+)$`).FindAllStringSubmatch(string(help), -1)
	require.GreaterOrEqual(t, len(codes), 5)
	for _, code := range codes {
		assert.Contains(t, page, "\n| "+code[1]+" | "+code[2], "exit code %s", code[1])
	}
}
