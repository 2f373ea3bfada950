package integration_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/workertest"
	"github.com/rouse-es/rouse/test/checkout"
)

// howtoFolder has the pages that answer one question each. Every command of theirs is run as those of lifecyclePage are, and
// every block of Go is, line for line, a part of howtoSources, which are compiled and run by tests. A page that is missing here
// fails, so that each is run by this test or says in its own who runs it.
const howtoFolder = "docs/howto"

// howtoPages are the pages by name, with the tables that each of their sections has in its database.
var howtoPages = map[string]string{
	"replay.md":           ordersAndLines,
	"dead-letters.md":     post,
	"retries.md":          post,
	"read-your-writes.md": orderRows,
	"multi-tenancy.md":    "",
	"outbox.md":           ordersAndPost,
	"adopting.md":         "",
	"upcasting.md":        "",
	"testing.md":          "",
}

// howtoPagesOfOthers are run by tests of their own, or have nothing that could be run.
var howtoPagesOfOthers = map[string]bool{"README.md": true, "append-from-anywhere.md": true, "consistency-boundary.md": true, "reactions.md": true}

// howtoSources are the files and folders that blocks of Go are parts of.
var howtoSources = []string{"test/integration/howto_code_test.go", "examples/shop", "examples/read-your-writes"}

// howtoHandlers put a handler that needs the pool into the configuration of a worker.
var howtoHandlers = map[string]func(*pgxpool.Pool, *rouse.Config){}

func TestHowToPagesRun(t *testing.T) {
	t.Parallel()
	root := checkout.Root(t)
	pages, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(howtoFolder), "*.md"))
	require.NoError(t, err)
	path, tested := pathWithRouse(t), goTexts(t, root, howtoSources)
	for _, page := range pages {
		name := filepath.Base(page)
		if howtoPagesOfOthers[name] {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tables, is := howtoPages[name]
			require.True(t, is, "no test runs the page: name it in howtoPages, or in howtoPagesOfOthers beside a test of its own")
			playPage(t, howtoFolder+"/"+name, path, tables, tested)
		})
	}
	require.GreaterOrEqual(t, len(pages), len(howtoPages))
}

// TestTutorialRuns plays docs/tutorial.md as the other pages: its code is that of examples/shop, its commands are those of the binary.
func TestTutorialRuns(t *testing.T) {
	t.Parallel()
	root := checkout.Root(t)
	folder := t.TempDir()
	checkout.Go(t, root, "build", "-o", filepath.Join(folder, "shop"), "./examples/shop")
	playPage(t, "docs/tutorial.md", folder+string(os.PathListSeparator)+pathWithPsql(t), "", goTexts(t, root, howtoSources))
}

func init() { lifecycleSteps["background"] = (*lifecycle).background }

// background runs a command until the end of the section, in its folder.
func (l *lifecycle) background(command string) {
	l.t.Helper()
	cmd := exec.CommandContext(l.ctx, "sh", "-c", "exec "+command)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Dir, cmd.Env = filepath.Dir(l.t.TempDir()), append(workertest.Environ(), "PATH="+l.path, "DATABASE_URL="+l.URL)
	require.NoError(l.t, cmd.Start())
	l.t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
}

// goTexts returns the Go sources in some files and folders, each without indentation.
func goTexts(t *testing.T, root string, paths []string) (texts []string) {
	t.Helper()
	for _, path := range paths {
		err := filepath.WalkDir(filepath.Join(root, filepath.FromSlash(path)), func(file string, entry os.DirEntry, err error) error {
			if err == nil && !entry.IsDir() && filepath.Ext(file) == ".go" {
				texts = append(texts, flush(readText(t, file)))
			}
			return err
		})
		require.NoError(t, err)
	}
	return texts
}

// flush returns a text whose lines have nothing in front or behind.
func flush(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	return strings.Join(lines, "\n")
}

// requireTested fails for a block of Go that is no part of what is tested.
func (l *lifecycle) requireTested(block string) {
	l.t.Helper()
	if l.tested == nil {
		return
	}
	block = "\n" + flush(block) + "\n"
	for _, source := range l.tested {
		if strings.Contains(source, block) {
			return
		}
	}
	l.t.Errorf("no source that is tested has this block of Go:\n%s", block)
}
