// Package floors holds the tests that keep the house in order: which package
// may import which (rooms_test.go has the table), and that no SQL is put
// together with fmt. It has no code of its own.
package floors

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const modulePath = "github.com/rouse-es/rouse"

// TestFloors reads the imports of the whole module for each system that the
// library must compile on, since a file may belong to one system only.
func TestFloors(t *testing.T) {
	t.Parallel()
	root := moduleRoot(t)
	// `go test` repeats a stored result as long as the files that the test
	// itself looked at are unchanged, and knows nothing of what `go list`
	// reads. Looking at every source file makes it run again after an edit.
	goFiles(t, root)

	h := house{module: modulePath, rooms: rooms, sideSteps: sideSteps, unwanted: unwanted, helpers: helpers}
	for _, goos := range []string{"linux", "darwin", "windows"} {
		t.Run(goos, func(t *testing.T) {
			t.Parallel()
			pkgs := listPackages(t, root, goos)
			for _, fault := range h.check(pkgs) {
				t.Error(fault)
			}
		})
	}
}

// TestCheckFindsViolations breaks a sound tree in one way per case, and wants
// exactly that fault reported.
func TestCheckFindsViolations(t *testing.T) {
	t.Parallel()
	const pgx, listen = "github.com/jackc/pgx/v5", "github.com/jackc/pgxlisten"
	sound := func() map[string][]string {
		return map[string][]string{
			"migrations":        {"embed", pgx},
			"eventstore":        {pgx},
			"listener":          {listen},
			"partition":         {pgx},
			"catchup":           {"./eventstore", "./listener", "./partition"},
			"":                  {"./catchup", "./eventstore", "./migrations"},
			"metrics":           {"./"},
			"rousetest":         {"./", "./internal/testdb", "testing"},
			"cmd/rouse":         {"./", "./metrics", "./internal/pgserver", "github.com/spf13/cobra"},
			"test/integration":  {"./", "./internal/testdb", "./rousetest", "testing", "github.com/stretchr/testify/require"},
			"internal/pgserver": {"os/exec"},
			"internal/testdb":   {"./internal/pgserver", "./migrations", "testing"},
		}
	}
	outside := []pkg{
		{ImportPath: pgx, Imports: []string{"context"}},
		{ImportPath: listen, Imports: []string{pgx}},
		{ImportPath: "github.com/innocent/looking", Imports: []string{"github.com/docker/docker/client"}},
	}
	step := sideStep{from: "partition", to: "eventstore", reason: "both need the slot"}

	for _, tc := range []struct {
		name      string
		add       map[string][]string // package -> further imports
		sideSteps []sideStep
		want      string // empty: nothing may be found
	}{
		{name: "a sound tree passes"},
		{name: "an empty room is no fault", add: map[string][]string{"parked": nil}},
		{name: "a subtree has its parent's floor", add: map[string][]string{"examples/scaling": {"./"}}},
		{
			name: "a package without a floor",
			add:  map[string][]string{"utils": nil},
			want: "utils has no floor: give it a row in internal/floors/rooms_test.go",
		},
		{
			name: "a name that only begins like a room",
			add:  map[string][]string{"tests": nil},
			want: "tests has no floor: give it a row in internal/floors/rooms_test.go",
		},
		{
			name: "floor 0 imports floor 1",
			add:  map[string][]string{"listener": {"./catchup"}},
			want: "listener of floor 0 imports catchup of floor 1: a lower floor never imports a higher one",
		},
		{
			name: "floor 1 imports the root package",
			add:  map[string][]string{"catchup": {"./"}},
			want: "catchup of floor 1 imports the root package of floor 2: a lower floor never imports a higher one",
		},
		{
			name: "the root package imports floor 3",
			add:  map[string][]string{"": {"./metrics"}},
			want: "the root package of floor 2 imports metrics of floor 3: a lower floor never imports a higher one",
		},
		{
			name: "floor 0 imports floor 0",
			add:  map[string][]string{"partition": {"./eventstore"}},
			want: "partition imports eventstore: packages of floor 0 do not import each other",
		},
		{
			name:      "floor 0 imports floor 0 by a declared side step",
			add:       map[string][]string{"partition": {"./eventstore"}},
			sideSteps: []sideStep{step},
		},
		{
			name:      "a side step allows one direction only",
			add:       map[string][]string{"partition": {"./eventstore"}, "eventstore": {"./partition"}},
			sideSteps: []sideStep{step},
			want:      "eventstore imports partition: packages of floor 0 do not import each other",
		},
		{
			name:      "a side step without a reason",
			add:       map[string][]string{"partition": {"./eventstore"}},
			sideSteps: []sideStep{{from: step.from, to: step.to}},
			want:      "the side step from partition to eventstore has no reason",
		},
		{
			name:      "a side step that nobody takes",
			sideSteps: []sideStep{step},
			want:      "the side step from partition to eventstore is not used: remove it",
		},
		{
			name:      "two side steps",
			add:       map[string][]string{"partition": {"./eventstore"}, "listener": {"./eventstore"}},
			sideSteps: []sideStep{step, {from: "listener", to: "eventstore", reason: "the channel's name"}},
			want:      "2 side steps on floor 0: one is the limit",
		},
		{
			name: "floor 1 imports internal",
			add:  map[string][]string{"catchup": {"./internal/signal"}, "internal/signal": nil},
			want: "catchup of floor 1 imports internal/signal: floors 0 to 2 use nothing from internal/ outside their tests",
		},
		{
			name: "internal imports above floor 0",
			add:  map[string][]string{"internal/pgserver": {"./catchup"}},
			want: "internal/pgserver stands beside the house and imports catchup of floor 1: only floor 0 is allowed",
		},
		{
			name: "users would receive cobra",
			add:  map[string][]string{"": {"github.com/spf13/cobra"}},
			want: "the root package brings github.com/spf13/cobra to users: github.com/rouse-es/rouse -> github.com/spf13/cobra",
		},
		{
			name: "users would receive Docker's client through another module",
			add:  map[string][]string{"eventstore": {"github.com/innocent/looking"}},
			want: "eventstore brings github.com/docker/docker/client to users: github.com/rouse-es/rouse/eventstore -> github.com/innocent/looking -> github.com/docker/docker/client",
		},
		{
			name: "the command imports a test helper",
			add:  map[string][]string{"cmd/rouse": {"./internal/testdb"}},
			want: "cmd/rouse imports github.com/rouse-es/rouse/internal/testdb: a test helper stays out of ordinary code",
		},
		{
			name: "ordinary code imports a part of testify",
			add:  map[string][]string{"metrics": {"github.com/stretchr/testify/assert"}},
			want: "metrics imports github.com/stretchr/testify/assert: a test helper stays out of ordinary code",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tree := sound()
			for path, imports := range tc.add {
				tree[path] = append(tree[path], imports...)
			}
			h := house{module: modulePath, rooms: rooms, sideSteps: tc.sideSteps, unwanted: unwanted, helpers: helpers}
			got := h.check(append(modulePackages(tree), outside...))
			if tc.want == "" {
				assert.Empty(t, got)
				return
			}
			assert.Equal(t, []string{tc.want}, got)
		})
	}
}

// modulePackages turns a map of paths and imports, in which "./" means the
// module, into packages as `go list` describes them.
func modulePackages(tree map[string][]string) []pkg {
	full := func(rel string) string { return strings.TrimSuffix(modulePath+"/"+rel, "/") }
	var pkgs []pkg
	for path, imports := range tree {
		p := pkg{ImportPath: full(path)}
		p.Module = &struct {
			Path string
			Main bool
		}{Path: modulePath, Main: true}
		for _, imp := range imports {
			if rel, ok := strings.CutPrefix(imp, "./"); ok {
				imp = full(rel)
			}
			p.Imports = append(p.Imports, imp)
		}
		pkgs = append(pkgs, p)
	}
	return pkgs
}

// listPackages runs `go list` for one system, without cgo and without tests.
func listPackages(t *testing.T, root, goos string) []pkg {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "list", "-deps", "-test=false", "-json=ImportPath,Imports,Module", "./...")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Run(), "go list: %s", &stderr)

	var pkgs []pkg
	for dec := json.NewDecoder(&stdout); ; {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		pkgs = append(pkgs, p)
	}
	return pkgs
}

// moduleRoot is the folder of go.mod, two above this package.
func moduleRoot(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(root, "go.mod"))
	return root
}

// goFiles returns every Go file of the module, relative to root with forward
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
