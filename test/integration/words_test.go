package integration_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/test/checkout"
)

// TestWordsAreInTheSource: every word of the glossary has an identifier, and each of these exists, so that a rename in the code
// is one in the glossary too.
func TestWordsAreInTheSource(t *testing.T) {
	t.Parallel()
	root := checkout.Root(t)
	names := sourceNames(t, root)
	row := regexp.MustCompile(`(?m)^\| ([^|]+) \| [^|]+ \| ([^|]+) \|$`)
	var words []string
	for _, m := range row.FindAllStringSubmatch(readText(t, root, "docs", "words.md"), -1) {
		word, where := m[1], m[2]
		if word == "word" || strings.HasPrefix(word, "---") {
			continue
		}
		words = append(words, word)
		spans := regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(where, -1)
		assert.NotEmpty(t, spans, "%s has no identifier", word)
		for _, span := range spans {
			if strings.Contains(span[1], "/") {
				_, err := os.Stat(filepath.Join(root, filepath.FromSlash(span[1])))
				assert.NoError(t, err, word)
				continue
			}
			assert.True(t, names[span[1]], "%s: there is no %s", word, span[1])
		}
	}
	assert.GreaterOrEqual(t, len(words), 40)
	assert.True(t, slices.IsSortedFunc(words, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) }), "%v", words)
	assert.Len(t, slices.Compact(slices.Clone(words)), len(words), "one row for one word")
}

// sourceNames are all names that a glossary may use: package.Name and package.Type.Member of Go, tables, table.column, views
// and functions of the schema.
func sourceNames(t *testing.T, root string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		skip := []string{".git", "bin", "dist", "test", "bench", "examples", "cmd", "node_modules"}
		if entry.IsDir() && filepath.Dir(path) == root && slices.Contains(skip, entry.Name()) {
			return fs.SkipDir
		}
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err == nil {
			addNames(names, file)
		}
		return err
	}))
	schemaNames(t, root, names)
	return names
}

func addNames(names map[string]bool, file *ast.File) {
	prefix := file.Name.Name + "."
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			names[prefix+receiver(decl)+decl.Name.Name] = true
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				switch spec := spec.(type) {
				case *ast.ValueSpec:
					for _, name := range spec.Names {
						names[prefix+name.Name] = true
					}
				case *ast.TypeSpec:
					names[prefix+spec.Name.Name] = true
					if of, is := spec.Type.(*ast.StructType); is {
						for _, field := range of.Fields.List {
							for _, name := range field.Names {
								names[prefix+spec.Name.Name+"."+name.Name] = true
							}
						}
					}
				}
			}
		}
	}
}

// receiver is the type that a method belongs to, with a dot.
func receiver(decl *ast.FuncDecl) string {
	if decl.Recv == nil {
		return ""
	}
	of := decl.Recv.List[0].Type
	if star, is := of.(*ast.StarExpr); is {
		of = star.X
	}
	if name, is := of.(*ast.Ident); is {
		return name.Name + "."
	}
	return ""
}

// schemaNames reads the migrations in their order.
func schemaNames(t *testing.T, root string, names map[string]bool) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "migrations", "*.sql"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	made := regexp.MustCompile(`(?ms)^create (?:or replace )?(?:unlogged )?(table|view|function) (\w+)(.*?);$`)
	column := regexp.MustCompile(`(?m)^  (\w+) +(?:bigint|int|smallint|text|uuid|boolean|json|jsonb|real|timestamptz)\b`)
	altered := regexp.MustCompile(`(?ms)^alter table (\w+)\s(.*?);$`)
	added := regexp.MustCompile(`add column (\w+)`)
	for _, file := range files {
		text := readText(t, file)
		for _, m := range made.FindAllStringSubmatch(text, -1) {
			names[m[2]] = true
			if m[1] == "table" {
				for _, c := range column.FindAllStringSubmatch(m[3], -1) {
					names[m[2]+"."+c[1]] = true
				}
			}
		}
		for _, m := range altered.FindAllStringSubmatch(text, -1) {
			for _, c := range added.FindAllStringSubmatch(m[2], -1) {
				names[m[1]+"."+c[1]] = true
			}
		}
	}
}
