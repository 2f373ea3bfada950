package integration_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/test/checkout"
)

// TestReliabilityNamesTestsThatExist: wherever the page names a test, there is one, and each trap has a row with a test, or
// with the reason why there is none.
func TestReliabilityNamesTestsThatExist(t *testing.T) {
	t.Parallel()
	root := checkout.Root(t)
	tests := topLevelTests(t, root)
	page := readText(t, root, "docs", "reliability.md")
	named := regexp.MustCompile(`\bTest[A-Z]\w*`).FindAllString(page, -1)
	for _, name := range named {
		if name != "TestName" { // of how to run one
			assert.Contains(t, tests, name, "docs/reliability.md names a test that is not there")
		}
	}
	assert.GreaterOrEqual(t, len(named), 60)

	_, traps, found := strings.Cut(page, "\n## Traps\n")
	require.True(t, found)
	rows := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\| (E?\d+b?) \| [^|]+ \| ([^|]+) \|$`).FindAllStringSubmatch(traps, -1) {
		assert.NotContains(t, rows, m[1], "trap %s has one row", m[1])
		rows[m[1]] = m[2]
	}
	numbers := []string{"10b"}
	for n := range 28 {
		numbers = append(numbers, fmt.Sprint(n+1))
	}
	for n := range 10 {
		numbers = append(numbers, fmt.Sprint("E", n+1))
	}
	for _, number := range numbers {
		assert.Regexp(t, `^(Test[A-Z]\w*|not applicable: [A-Z\w].*\.|open)$`, rows[number], "trap %s", number)
	}
	assert.Len(t, rows, len(numbers))
}

// topLevelTests are the names of all tests of the module that `go test` would run.
func topLevelTests(t *testing.T, root string) map[string]bool {
	t.Helper()
	tests := map[string]bool{}
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != root && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata"):
			return fs.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			if f, is := decl.(*ast.FuncDecl); is && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				tests[f.Name.Name] = true
			}
		}
		return nil
	}))
	return tests
}
