package integration_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/test/checkout"
)

// readmePatience is for building and running a program on a busy machine.
const readmePatience = 5 * time.Minute

func readText(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	require.NoError(t, err)
	return string(text)
}

// goBlocks are the Go programs and fragments under one heading of a document.
func goBlocks(t *testing.T, document, heading string) []string {
	t.Helper()
	return blocksIn(t, document, heading, "go")
}

// blocksIn are the blocks of code in one language, which may be none, under one heading of a document.
func blocksIn(t *testing.T, document, heading, language string) []string {
	t.Helper()
	_, section, found := strings.Cut(document, "\n"+heading+"\n")
	require.True(t, found, "there is no heading %q", heading)
	section, _, _ = strings.Cut(section, "\n## ")
	var blocks []string
	for _, m := range regexp.MustCompile("(?s)\n```"+language+"\n(.*?)\n```").FindAllStringSubmatch(section, -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// TestReadmeProgramRuns: the program that newcomers copy builds against this module, in a module of its own, and does what it
// says; so does the fragment that appends.
func TestReadmeProgramRuns(t *testing.T) {
	t.Parallel()
	root := checkout.Root(t)
	blocks := goBlocks(t, readText(t, root, "README.md"), "## In your program")
	require.Len(t, blocks, 2, "a program, and the fragment that appends")
	program := buildReadme(t, root, blocks[0], blocks[1])

	db := testdb.New(t)
	table := regexp.MustCompile(`(?m)^// .*keeps: (create table .*);$`).FindStringSubmatch(blocks[0])
	require.Len(t, table, 2, "a comment names the table that the program needs")
	s := newStage(t, db)
	s.exec(table[1])
	deposit(t, db, "a-1", 100, 250)

	stop := startReadme(t, program, db)
	s.eventually(readmePatience, "what was there before", "select coalesce(sum(cents), 0) = 350 from balances")
	deposit(t, db, "a-1", 50)
	deposit(t, db, "a-2", 7)
	s.eventually(readmePatience, "what came while it ran", `select coalesce(string_agg(account || '=' || cents, ' ' order by account), '')
		= 'a-1=400 a-2=7' from balances`)
	stop()
	s.eventually(readmePatience, "every partition to be saved and given up",
		"select min(last_global_position) = (select max(global_position) from events) and count(owner) = 0 from projection_checkpoints")

	stop = startReadme(t, program, db) // which handles nothing again
	deposit(t, db, "a-2", 1)
	s.eventually(readmePatience, "what came after a restart", "select cents = 8 from balances where account = 'a-2'")
	stop()
	assert.EqualValues(t, 400, s.int("select cents from balances where account = 'a-1'"))
}

// TestReadmeShowsWhatIsSeen: what the README appends with plain SQL while the program runs is what it shows of the read model.
func TestReadmeShowsWhatIsSeen(t *testing.T) {
	t.Parallel()
	root := checkout.Root(t)
	document := readText(t, root, "README.md")
	const heading = "## In your program"
	program := goBlocks(t, document, heading)
	table := regexp.MustCompile(`(?m)^// .*keeps: (create table .*);$`).FindStringSubmatch(program[0])
	require.Len(t, table, 2)
	typed := blocksIn(t, document, heading, "sql")
	require.Len(t, typed, 1)
	insert, query, found := strings.Cut(typed[0], ";\n")
	require.True(t, found, "an insert and a query")
	_, shown, found := strings.Cut(document, "\n---------+-------\n")
	require.True(t, found, "what psql prints")
	shown, _, _ = strings.Cut(shown, "\n```")

	db := testdb.New(t)
	s := newStage(t, db)
	s.exec(table[1])
	stop := startReadme(t, buildReadme(t, root, program[0], program[1]), db)
	s.exec(insert)
	var seen string
	testdb.Eventually(t, readmePatience, "the row that the README shows", func() (bool, error) {
		rows, err := db.Pool.Query(s.ctx, strings.TrimSuffix(query, ";"))
		if err != nil {
			return false, err
		}
		lines, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
			var account string
			var cents int64
			err := row.Scan(&account, &cents)
			return fmt.Sprintf(" %-7s | %5d", account, cents), err
		})
		seen = strings.Join(lines, "\n")
		return seen != "", err
	})
	require.Equal(t, shown, seen)
	stop()
}

// buildReadme makes a module of the program and the fragment, as a user would, and builds it; where its modules are
// there already, without a network.
func buildReadme(t *testing.T, root, program, fragment string) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	version := regexp.MustCompile(`(?m)^go .*$`).FindString(readText(t, root, "go.mod"))
	write("go.mod", fmt.Sprintf("module readme\n\n%s\n\nrequire github.com/rouse-es/rouse v0.0.0\n\nreplace github.com/rouse-es/rouse => %s\n", version, root))
	write("go.sum", readText(t, root, "go.sum"))
	write("main.go", program)
	write("fragment.go", `package main

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/eventstore"
)

func fragment(ctx context.Context, tx pgx.Tx) (err error) {
`+fragment+`
	return err
}
`)
	ctx, cancel := context.WithTimeout(context.Background(), readmePatience)
	defer cancel()
	binary := filepath.Join(dir, "readme")
	build := exec.CommandContext(ctx, "go", "build", "-mod=mod", "-o", binary, ".")
	build.Dir = dir
	build.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return binary
}

// startReadme runs the program; stop is Ctrl+C, and wants it to end without an error.
func startReadme(t *testing.T, program string, db *testdb.DB) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), readmePatience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, program)
	cmd.Env = append(os.Environ(), "DATABASE_URL="+db.URL)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stopped := false
	t.Cleanup(func() {
		if !stopped {
			cancel()
			<-ended
			t.Logf("%s", output.String())
		}
	})
	return func() {
		t.Helper()
		require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
		err := <-ended
		stopped = true
		require.NoError(t, err, "%s", output.String())
	}
}

// deposit appends to an account, and after each deposit an event that the program does not want.
func deposit(t *testing.T, db *testdb.DB, account string, cents ...int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), readmePatience)
	defer cancel()
	require.NoError(t, pgx.BeginFunc(ctx, db.Pool, func(tx pgx.Tx) error {
		for _, n := range cents {
			_, err := eventstore.Append(ctx, tx, eventstore.Stream{Type: "account", ID: account}, eventstore.Any(),
				eventstore.NewEvent{Type: "MoneyDeposited", Payload: json.RawMessage(fmt.Sprintf(`{"cents": %d}`, n))},
				eventstore.NewEvent{Type: "StatementSent", Payload: json.RawMessage(`{}`)})
			if err != nil {
				return err
			}
		}
		return nil
	}))
}
