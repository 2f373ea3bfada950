package house_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/test/checkout"
)

// formatters are the functions of fmt that make text out of a format or out
// of pieces. Errorf is left out: an error may speak about a statement.
var formatters = map[string]bool{
	"Sprintf": true, "Sprint": true, "Sprintln": true,
	"Fprintf": true, "Fprint": true, "Fprintln": true,
	"Appendf": true, "Append": true, "Appendln": true,
}

// looksLikeSQL recognises the beginning of a statement, after comments.
var looksLikeSQL = regexp.MustCompile(`(?is)^(\s|--[^\n]*\n)*(` + strings.Join([]string{
	`select\s.*(\sfrom\s|\()`, `with\s+(recursive\s+)?\S+\s+as\s`, `values\s*\(`,
	`insert\s+into\s`, `update\s+(only\s+)?\S+\s+(as\s+)?(\S+\s+)?set\s`, `delete\s+from\s`, `merge\s+into\s`, `copy\s+\S+.*\s(from|to)\s`,
	`(create|alter|drop)\s+(or\s+replace\s+)?(unlogged\s+|temp\s+|temporary\s+|unique\s+)?(table|index|view|function|procedure|trigger|schema|database|role|user|sequence|type|extension)\s`,
	`truncate\s+(table\s+)?\S`, `lock\s+table\s`, `comment\s+on\s`, `grant\s.*\s(on|to)\s`, `revoke\s.*\sfrom\s`,
	`set\s+(local\s+|session\s+)?[\w.%]+\s*(=|to\s)`, `(un)?listen\s+["%]`, `notify\s+["%]`,
	`(prepare|commit|rollback)\s+(transaction|prepared)\s`, `(rollback\s+to|release)\s+(savepoint\s+)?\S`, `savepoint\s+\S`,
	`do\s+\$`, `explain\s+(\(|select|analyze)`,
}, "|") + `)`)

// namedSQL recognises variables that hold statements, such as the ones that
// files are embedded into.
var namedSQL = regexp.MustCompile(`(?i)(sql|query|stmt|statement)$`)

// scripts are the functions that may write SQL with fmt because nothing of it
// is sent to a server, each as folder and function, with the reason.
var scripts = map[string]string{
	"migrations.Print": "writes the migrations as a script for people; its values are names of embedded files",
}

// sqlFault is one call of fmt that puts SQL together.
type sqlFault struct {
	function string // enclosing function; empty at package level
	at       string // file:line
	call     string // fmt.Sprintf
}

// TestNoSQLThroughFmt keeps values and names out of statements that are put
// together as text. Values are parameters; a name, where PostgreSQL takes no
// parameter, is appended with pgx.Identifier's Sanitize.
func TestNoSQLThroughFmt(t *testing.T) {
	t.Parallel()
	root := checkout.Root(t)
	fset := token.NewFileSet()
	unused := maps.Clone(scripts)
	for _, path := range goFiles(t, root) {
		if strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "test/") {
			continue
		}
		file, err := parser.ParseFile(fset, filepath.Join(root, path), nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, f := range sqlFaults(fset, file) {
			where := strings.TrimSuffix(strings.TrimSuffix(path, filepath.Base(path)), "/")
			if _, ok := scripts[where+"."+f.function]; ok {
				delete(unused, where+"."+f.function)
				continue
			}
			t.Errorf("%s/%s: %s builds SQL: pass values as parameters, names through pgx.Identifier.Sanitize", where, f.at, f.call)
		}
	}
	for function := range unused {
		t.Errorf("%s writes no SQL with fmt any more: remove it from scripts", function)
	}
}

func TestSQLFaults(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		body string
		want bool
	}{
		{"a value in the text", `fmt.Sprintf("select * from events where id = %d", id)`, true},
		{"a table's name in the text", `fmt.Sprintf("insert into %s values ($1)", table)`, true},
		{"capitals", `fmt.Sprintf("UPDATE events SET a = %s", v)`, true},
		{"a raw string that begins with a comment", "fmt.Sprintf(`-- what for\n  delete from %s`, table)", true},
		{"pieces", `fmt.Sprint("create database ", name)`, true},
		{"text joined first", `fmt.Sprintf("select a " + "from %s", table)`, true},
		{"written to a builder", `fmt.Fprintf(b, "alter table %s set (fillfactor = 50)", table)`, true},
		{"appended to bytes", `fmt.Appendf(nil, "listen %s", channel)`, true},
		{"a setting", `fmt.Sprintf("set local lock_timeout = %d", ms)`, true},
		{"a function call", `fmt.Sprintf("select pg_notify('%s', '')", channel)`, true},
		{"an embedded statement", `fmt.Sprintf(readBatchSQL, table)`, true},
		{"an embedded statement of another package", `fmt.Sprintf(store.Query, table)`, true},

		{"a parameter", `conn.Exec(ctx, "select * from events where id = $1", id)`, false},
		{"a quoted name", `conn.Exec(ctx, "create database " + pgx.Identifier{name}.Sanitize())`, false},
		{"a message that uses a verb of SQL", `fmt.Sprintf("update %s to version %d", name, n)`, false},
		{"a message about a selection", `fmt.Sprintf("select one of %d projections", n)`, false},
		{"an error about a statement", `fmt.Errorf("delete from %s: %w", table, err)`, false},
		{"a connection string", `fmt.Sprintf("host=%s dbname=%s", dir, name)`, false},
		{"another package's Sprintf", `pretty.Sprintf("select a from %s", table)`, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			fset := token.NewFileSet()
			src := "package p\n\nfunc f() {\n\t" + tc.body + "\n}\n"
			file, err := parser.ParseFile(fset, "p.go", src, parser.SkipObjectResolution)
			require.NoError(t, err)
			got := sqlFaults(fset, file)
			if !tc.want {
				assert.Empty(t, got)
				return
			}
			require.Len(t, got, 1)
			assert.Equal(t, "f", got[0].function)
			assert.Equal(t, "p.go:4", got[0].at)
		})
	}
}

// sqlFaults finds the calls of fmt in a file that put SQL together.
func sqlFaults(fset *token.FileSet, file *ast.File) []sqlFault {
	var faults []sqlFault
	for _, decl := range file.Decls {
		var function string
		if fn, ok := decl.(*ast.FuncDecl); ok {
			function = fn.Name.Name
		}
		ast.Inspect(decl, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || !isFormatter(call.Fun) || !slices.ContainsFunc(call.Args, isSQL) {
				return true
			}
			pos := fset.Position(call.Pos())
			faults = append(faults, sqlFault{
				function: function,
				at:       fmt.Sprintf("%s:%d", filepath.Base(pos.Filename), pos.Line),
				call:     "fmt." + call.Fun.(*ast.SelectorExpr).Sel.Name,
			})
			return true
		})
	}
	return faults
}

// isFormatter reports whether a called expression is one of the formatters.
func isFormatter(fun ast.Expr) bool {
	fn, ok := fun.(*ast.SelectorExpr)
	if !ok || !formatters[fn.Sel.Name] {
		return false
	}
	from, ok := fn.X.(*ast.Ident)
	return ok && from.Name == "fmt"
}

// isSQL reports whether an argument is a statement, by its text or its name.
func isSQL(arg ast.Expr) bool {
	switch e := arg.(type) {
	case *ast.Ident:
		return namedSQL.MatchString(e.Name)
	case *ast.SelectorExpr:
		return namedSQL.MatchString(e.Sel.Name)
	}
	return looksLikeSQL.MatchString(literalText(arg))
}

// literalText joins the string literals of an expression; what is not a
// literal counts as one %s.
func literalText(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
			return text
		}
	case *ast.ParenExpr:
		return literalText(e.X)
	case *ast.BinaryExpr:
		if e.Op == token.ADD {
			return literalText(e.X) + literalText(e.Y)
		}
	}
	return "%s"
}
