package house_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/test/checkout"
)

// shown are the packages whose verbs people look up, by folder, with those functions that need no example, each for a reason.
var shown = map[string][]string{
	".":          nil,
	"eventstore": {"ParseID", "NewID", "ScanEvent", "ReadAfter"}, // for tools
	"projection": {"ParseStart"},                                 // for tools
	"parked":     nil,
	"app":        nil,
	"aggregate":  nil,
	"events":     {"AsOf", "TypeOf"}, // for programs with several registries
	"retention":  nil,
	"migrations": {"FunctionBody", "Lacking", "Version", "Locked", "UpReporting", "Carry"}, // for tools
	"tracing":    {"Appended"},                                                             // for tools
	"rousetest":  {"Stop"},                                                                 // goes where there is no example: TestMain
}

// TestEveryVerbHasAnExample: each exported function of these packages is used in a file with a function Example, so that its page shows how.
// Those that return an option are not looked for.
func TestEveryVerbHasAnExample(t *testing.T) {
	t.Parallel()
	root := checkout.Root(t)
	for dir, exempt := range shown {
		funcs, used, name := verbs(t, filepath.Join(root, filepath.FromSlash(dir)))
		require.NotEmpty(t, funcs, dir)
		for _, f := range funcs {
			if !used[f] && !slices.Contains(exempt, f) {
				t.Errorf("no Example of package %s shows %s.%s: add one to a file example_test.go or example_NAME_test.go", dir, name, f)
			}
			if used[f] && slices.Contains(exempt, f) {
				t.Errorf("%s.%s has an example: take it out of the list of those that need none", name, f)
			}
		}
	}
}

// verbs returns the exported functions of the package in a folder, which of them its examples use, and its name.
func verbs(t *testing.T, dir string) (funcs []string, used map[string]bool, name string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	uses := map[string]map[string]bool{} // by qualifier
	for _, path := range files {
		base := filepath.Base(path)
		test := strings.HasSuffix(base, "_test.go")
		code, err := os.ReadFile(path)
		require.NoError(t, err)
		file, err := parser.ParseFile(token.NewFileSet(), path, code, parser.SkipObjectResolution)
		require.NoError(t, err)
		if test {
			if hasExample(file) {
				ast.Inspect(file, func(n ast.Node) bool {
					if s, is := n.(*ast.SelectorExpr); is {
						if x, is := s.X.(*ast.Ident); is {
							if uses[x.Name] == nil {
								uses[x.Name] = map[string]bool{}
							}
							uses[x.Name][s.Sel.Name] = true
						}
					}
					return true
				})
			}
			continue
		}
		name = file.Name.Name
		for _, decl := range file.Decls {
			if f, is := decl.(*ast.FuncDecl); is && f.Recv == nil && f.Name.IsExported() && !isOption(f) {
				funcs = append(funcs, f.Name.Name)
			}
		}
	}
	return funcs, uses[name], name
}

func hasExample(file *ast.File) bool {
	return slices.ContainsFunc(file.Decls, func(decl ast.Decl) bool {
		f, is := decl.(*ast.FuncDecl)
		return is && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Example")
	})
}

// isOption reports whether f makes an option of another function, with which it is shown.
func isOption(f *ast.FuncDecl) bool {
	if f.Type.Results == nil || len(f.Type.Results.List) != 1 {
		return false
	}
	result, is := f.Type.Results.List[0].Type.(*ast.Ident)
	return is && strings.HasSuffix(result.Name, "Option")
}
