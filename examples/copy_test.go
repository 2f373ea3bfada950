//go:build unix

package examples_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/workertest"
)

// TestEveryExampleCanBeCopiedOut copies main.go of each, with the SQL that it embeds, into a module of its own, elsewhere, as a newcomer does,
// and builds it there. Such a module cannot import what is internal to this one.
func TestEveryExampleCanBeCopiedOut(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("..")
	require.NoError(t, err)
	programs, err := filepath.Glob("*/main.go")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(programs), 11)
	outside := t.TempDir()
	for _, program := range programs {
		embedded, err := filepath.Glob(filepath.Join(filepath.Dir(program), "*.sql"))
		require.NoError(t, err)
		require.NoError(t, os.Mkdir(filepath.Join(outside, filepath.Dir(program)), 0o755))
		for _, file := range append(embedded, program) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(outside, file), text, 0o600))
		}
	}
	// The versions are those of this module, so that nothing has to be looked up.
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	require.NoError(t, err)
	lines := strings.Replace(string(mod), "module github.com/rouse-es/rouse", "module example.com/copied", 1)
	lines += "\nrequire github.com/rouse-es/rouse v0.0.0\n\nreplace github.com/rouse-es/rouse => " + root + "\n"
	require.NoError(t, os.WriteFile(filepath.Join(outside, "go.mod"), []byte(lines), 0o600))
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(outside, "go.sum"), sum, 0o600))

	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	defer cancel()
	build := workertest.Build(ctx, "go", "build", "-mod=mod", "./...") // of several programs none is linked
	build.Dir = outside
	build.Env = append(build.Env, "GOFLAGS=-trimpath", "GOWORK=off")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
}
