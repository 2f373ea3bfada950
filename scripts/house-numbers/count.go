package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// mechanism is in the comment of packages that are public but no API.
const mechanism = "This package is the worker's mechanism."

// tree is the source of a checkout, without its tests.
type tree struct {
	root  string
	files []source
	err   error // the first thing that could not be counted
}

// source is one file. dir is relative to the root, "." for the root package.
type source struct {
	dir, name string
	text      string
	file      *ast.File
	set       *token.FileSet
}

// read parses a checkout. Modules of their own below it, tests and programs that only show something are left out.
func read(path string) (*tree, error) {
	root, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	t := &tree{root: root}
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		if entry.IsDir() {
			if rel != "." && strings.HasPrefix(entry.Name(), ".") || slices.Contains([]string{"bench", "bin", "dist", "examples", "scripts", "test"}, rel) {
				return fs.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		t.files = append(t.files, source{filepath.ToSlash(filepath.Dir(rel)), filepath.Base(path), string(text), file, set})
		return nil
	})
	if err == nil && !slices.ContainsFunc(t.files, func(s source) bool { return s.dir == "." }) {
		err = fmt.Errorf("there is no Go package in %s", root)
	}
	return t, err
}

func rootSize(t *tree) string {
	files, lines := 0, 0
	for _, s := range t.files {
		if s.dir == "." {
			files++
			lines += strings.Count(s.text, "\n")
		}
	}
	return fmt.Sprintf("%d / %s", files, grouped(lines))
}

func command(dir string) bool {
	rooms := []string{"internal/appender", "internal/cli", "internal/console", "internal/database", "internal/demo", "internal/process"}
	return strings.HasPrefix(dir, "cmd/") || slices.Contains(rooms, dir)
}

// library reports whether dir is a part of the product that is neither the command nor a tool.
func library(dir string) bool {
	tools := []string{"internal/bench", "internal/doctor", "internal/floors", "internal/knownbad", "internal/pgserver", "internal/testdb", "internal/workertest"}
	return !command(dir) && !slices.Contains(tools, dir)
}

// owner is a type by its package and name.
type owner struct{ dir, name string }

// methods counts the methods of each type, and names the files that they stand in.
func (t *tree) methods(in func(dir string) bool) (count map[owner]int, files map[owner][]string) {
	count, files = map[owner]int{}, map[owner][]string{}
	for _, s := range t.files {
		if !in(s.dir) || strings.HasPrefix(s.text, "//go:build rousefault\n") {
			continue // the second is for builds that are wrong on purpose
		}
		for _, decl := range s.file.Decls {
			f, is := decl.(*ast.FuncDecl)
			if !is || f.Recv == nil {
				continue
			}
			if name := typeName(f.Recv.List[0].Type); name != "" {
				o := owner{s.dir, name}
				count[o]++
				if !slices.Contains(files[o], s.name) {
					files[o] = append(files[o], s.name)
				}
			}
		}
	}
	return count, files
}

func (t *tree) most(in func(dir string) bool) owner {
	count, _ := t.methods(in)
	best := owner{}
	for o, n := range count {
		if n > count[best] || n == count[best] && o.name < best.name {
			best = o
		}
	}
	return best
}

func (t *tree) biggest(in func(dir string) bool) string {
	count, files := t.methods(in)
	o := t.most(in)
	return fmt.Sprintf("%d in %d (`%s`)", count[o], len(files[o]), o.name)
}

// reach counts the fields that a method on the handler's path can name through its receiver: those of the type with most
// methods in internal/apply or, where that is not there, of `session` in the root package; those of the structs that are embedded
// in it; and those of every struct of the same package that one of all these points to, but not beyond.
func reach(t *tree) string {
	start := owner{".", "session"}
	if apply := t.most(func(dir string) bool { return dir == "internal/apply" }); apply.name != "" {
		start = apply
	}
	structs := map[string]*ast.StructType{}
	for _, s := range t.files {
		if s.dir != start.dir {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if spec, is := n.(*ast.TypeSpec); is {
				if of, is := spec.Type.(*ast.StructType); is {
					structs[spec.Name.Name] = of
				}
			}
			return true
		})
	}
	if structs[start.name] == nil {
		return "?"
	}
	own, all := 0, 0
	seen := map[string]bool{}
	var count func(name string, direct bool)
	count = func(name string, direct bool) {
		if structs[name] == nil || seen[name] {
			return
		}
		seen[name] = true
		for _, field := range structs[name].Fields.List {
			n := max(len(field.Names), 1)
			all += n
			if direct {
				own += n
			}
			_, pointer := field.Type.(*ast.StarExpr)
			switch {
			case len(field.Names) == 0:
				count(typeName(field.Type), direct)
			case direct && pointer:
				count(typeName(field.Type), false)
			}
		}
	}
	count(start.name, true)
	return fmt.Sprintf("%d, %d of them its own (`%s`)", all, own, start.name)
}

// typeName is the name of a type of the same package, or of what a pointer to it points to.
func typeName(expr ast.Expr) string {
	switch e := expr.(type) {
	case *ast.StarExpr:
		return typeName(e.X)
	case *ast.IndexExpr:
		return typeName(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// publicNames counts exported types, functions, methods, constants and variables of packages that others can import; fields belong
// to their type.
func publicNames(t *tree) string {
	internal := map[string]bool{}
	for _, s := range t.files {
		if s.file.Doc != nil && strings.Contains(strings.Join(strings.Fields(s.file.Doc.Text()), " "), mechanism) {
			internal[s.dir] = true
		}
	}
	all, api := 0, 0
	for _, s := range t.files {
		if s.file.Name.Name == "main" || strings.HasPrefix(s.dir+"/", "internal/") || strings.Contains(s.dir, "/internal") {
			continue
		}
		n := 0
		for _, decl := range s.file.Decls {
			n += exported(decl)
		}
		all += n
		if !internal[s.dir] {
			api += n
		}
	}
	return fmt.Sprintf("%d, %d", all, api)
}

func exported(decl ast.Decl) (n int) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && (d.Recv == nil || ast.IsExported(typeName(d.Recv.List[0].Type))) {
			n++
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				if spec.Name.IsExported() {
					n++
				}
			case *ast.ValueSpec:
				for _, name := range spec.Names {
					if name.IsExported() {
						n++
					}
				}
			}
		}
	}
	return n
}

func requirements(t *tree) string {
	text, err := os.ReadFile(filepath.Join(t.root, "go.mod"))
	if err != nil {
		t.err = err
		return "?"
	}
	n, inside := 0, false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "require (":
			inside = true
		case line == ")":
			inside = false
		case (inside && line != "" || strings.HasPrefix(line, "require ")) && !strings.HasPrefix(line, "//") && !strings.HasSuffix(line, "// indirect"):
			n++
		}
	}
	return fmt.Sprint(n)
}

// commentShare is the share of lines of the root package, blank ones left out, on which there is nothing but a comment.
func commentShare(t *tree) string {
	lines, comments := 0, 0
	for _, s := range t.files {
		if s.dir != "." {
			continue
		}
		for line := range strings.Lines(s.text) {
			if strings.TrimSpace(line) != "" {
				lines++
			}
			if strings.HasPrefix(strings.TrimSpace(line), "//") {
				comments++
			}
		}
	}
	return fmt.Sprintf("%.0f %%", math.Round(float64(comments)/float64(lines)*100))
}

func grouped(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}
