package integration_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/test/checkout"
)

// The library that computes the pauses gives up after a quarter of an hour unless it is told not to. Every loop that lives for
// ever tells it.
func TestNoBackoffGivesUp(t *testing.T) {
	t.Parallel()
	root, seen := checkout.Root(t), 0
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != root && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		case filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(node ast.Node) bool {
			if call, is := node.(*ast.CallExpr); is && selects(call.Fun, "NewExponentialBackOff") {
				seen++
				assert.True(t, endless(call), "%s needs backoff.WithMaxElapsedTime(0)", files.Position(call.Pos()))
			}
			return true
		})
		return nil
	}))
	require.GreaterOrEqual(t, seen, 5, "there are such loops")
}

// endless tells whether a call has the option WithMaxElapsedTime(0).
func endless(call *ast.CallExpr) bool {
	for _, arg := range call.Args {
		option, is := arg.(*ast.CallExpr)
		if !is || !selects(option.Fun, "WithMaxElapsedTime") || len(option.Args) != 1 {
			continue
		}
		limit, is := option.Args[0].(*ast.BasicLit)
		return is && limit.Value == "0"
	}
	return false
}

// selects tells whether an expression is package.name.
func selects(e ast.Expr, name string) bool {
	s, is := e.(*ast.SelectorExpr)
	return is && s.Sel.Name == name
}
