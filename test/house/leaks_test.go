// Package house_test holds the rules of the code that no linter knows.
package house_test

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rouse-es/rouse/test/checkout"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestEveryTestBinaryLooksForGoroutines: each package with tests ends them with a look for goroutines that nobody waited for.
func TestEveryTestBinaryLooksForGoroutines(t *testing.T) {
	t.Parallel()
	root := checkout.Root(t)
	looks := map[string]bool{} // by folder with tests
	for _, file := range goFiles(t, root) {
		if !strings.HasSuffix(file, "_test.go") || path.Dir(file) == "examples/shop" { // what is copied from there needs no library of ours
			continue
		}
		code, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
		require.NoError(t, err)
		looks[path.Dir(file)] = looks[path.Dir(file)] || looksForGoroutines(string(code))
	}
	require.NotEmpty(t, looks)
	for dir, does := range looks {
		assert.True(t, does, "the tests of %s do not look for goroutines that are left: give it a TestMain with testdb.Main or goleak.VerifyTestMain", dir)
	}
}

func looksForGoroutines(code string) bool {
	_, body, has := strings.Cut(code, "func TestMain(m *testing.M) {")
	return has && (strings.Contains(body, "testdb.Main(m") || strings.Contains(body, "goleak.VerifyTestMain(m") ||
		strings.Contains(code, "package testdb\n") && strings.Contains(body, "Main(m)"))
}

// goFiles returns every Go file of the checkout, relative to root with forward
// slashes.
func goFiles(t *testing.T, root string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		skip := strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"
		if d.IsDir() && skip && path != root {
			return filepath.SkipDir
		}
		if d.IsDir() || skip || !strings.HasSuffix(path, ".go") {
			return nil
		}
		if _, err := os.Stat(path); err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		files = append(files, filepath.ToSlash(rel))
		return err
	})
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files
}
