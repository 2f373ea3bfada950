// Package checkout gives tests the folder that the product is built from, and what is built there.
package checkout

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// buildTimeout bounds a build on a busy machine.
const buildTimeout = 5 * time.Minute

// Root returns the root of the product's module, for a test of a package two folders below it.
func Root(t testing.TB) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "cmd", "rouse")); err != nil {
		t.Fatal(err)
	}
	return root
}

// Rouse builds the command with more flags of `go build`, and returns where it is.
func Rouse(t testing.TB, flags ...string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "rouse"+Suffix)
	Go(t, Root(t), append(append([]string{"build", "-o", binary}, flags...), "./cmd/rouse")...)
	return binary
}

// Go runs a command of Go's in a folder, which must succeed.
func Go(t testing.TB, folder string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), buildTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = folder
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %v: %v\n%s", args, err, out)
	}
}

// Suffix is what the name of a program ends in.
var Suffix = map[string]string{"windows": ".exe"}[runtime.GOOS]

// Environ returns the variables of this process that do not concern the command.
func Environ() []string {
	return slices.DeleteFunc(os.Environ(), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return strings.HasPrefix(name, "PG") || strings.HasPrefix(name, "ROUSE_") && name != "ROUSE_PG_BIN" ||
			name == "DATABASE_URL" || strings.HasSuffix(name, "WORKER_ID") || name == "TOTAL_WORKERS"
	})
}
