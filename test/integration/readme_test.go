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
	"github.com/rouse-es/rouse/internal/workertest"
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

// readmeCommands is how many commands a newcomer needs at most, from an empty folder to a row of a read model of his own.
const readmeCommands = 10

// TestReadme: what newcomers type, as it is typed, in a folder outside of this repository, with the modules that they get once this one is
// published; then the program that they have, in the fragment's company, does what it says.
func TestReadme(t *testing.T) {
	t.Parallel()
	root := checkout.Root(t)
	document := readText(t, root, "README.md")
	const heading = "## From an empty folder"
	files, typed, shown := goBlocks(t, document, heading), blocksIn(t, document, heading, "sh"), blocksIn(t, document, heading, "text")
	tables := blocksIn(t, document, heading, "sql")
	require.Len(t, files, 2, "a program, and the fragment that appends")
	require.Len(t, tables, 1, "the table of the read model")
	require.Len(t, typed, 1)
	require.Len(t, shown, 1)

	folder := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600))
	}
	write("main.go", files[0])
	write("1_balances.sql", tables[0])
	published := append(publish(t, root), "PATH="+pathWithPsql(t))
	commands := strings.Split(strings.ReplaceAll(typed[0], "\\\n", ""), "\n")
	require.LessOrEqual(t, len(commands), readmeCommands)
	db := testdb.Empty(t)
	var printed string
	for _, command := range commands {
		printed = typeIn(t, folder, command, append(published, "DATABASE_URL="+db.URL))
	}
	printed = regexp.MustCompile(`(?m) +$`).ReplaceAllString(printed, "") // psql fills its lines up
	require.True(t, strings.HasPrefix(printed, shown[0]+"\n"), "the last command shows the row of the README, not\n%s", printed)

	t.Run("FragmentCompiles", func(t *testing.T) {
		write("fragment.go", "package main\n\nimport (\n\"context\"\n\n\"github.com/jackc/pgx/v5\"\n\n\"github.com/rouse-es/rouse/events\"\n"+
			"\"github.com/rouse-es/rouse/eventstore\"\n)\n\nfunc fragment(ctx context.Context, tx pgx.Tx) (err error) {\n"+files[1]+"\nreturn err\n}\n")
		typeIn(t, folder, "go vet", published)
	})
	t.Run("ProgramHandlesEachEventOnce", func(t *testing.T) {
		readmeHandlesOnce(t, filepath.Join(folder, "shop"), tables[0])
	})
}

// readmeHandlesOnce: the program handles what was there before, what comes while it runs and what comes after a restart, each event once.
func readmeHandlesOnce(t *testing.T, program, table string) {
	db := testdb.New(t)
	s := newStage(t, db)
	typeIn(t, filepath.Dir(program), "./shop migrate", append(workertest.Environ(), "DATABASE_URL="+db.URL))
	require.NotContains(t, table, "if not exists", "the program has made it")
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

// typeIn types a command in a folder, and returns what it prints.
func typeIn(t *testing.T, folder, command string, env []string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), readmePatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Dir, cmd.Env = folder, env
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	require.NoError(t, cmd.Run(), "%s\n%s%s", command, out.String(), said.String())
	return out.String()
}

// startReadme runs the program; stop is Ctrl+C, and wants it to end without an error.
func startReadme(t *testing.T, program string, db *testdb.DB) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), readmePatience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, program, "worker")
	cmd.Env = append(workertest.Environ(), "DATABASE_URL="+db.URL)
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
