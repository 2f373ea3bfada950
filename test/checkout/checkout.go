// Package checkout gives tests the folder that the product is built from, and what is built there.
package checkout

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/rouse-es/rouse/internal/workertest"
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

// ordinary is the command as it is built without further flags.
var ordinary struct {
	mu     sync.Mutex // protects binary, held while it is made
	binary string     // "" before the first use
}

// Rouse returns where the command is, which no test may change: it is built at the first use, beside the test binary, whose folder `go
// test` removes. With more flags of `go build` it is built anew, for one test.
func Rouse(t testing.TB, flags ...string) string {
	t.Helper()
	if len(flags) > 0 {
		return build(t, t.TempDir(), flags)
	}
	ordinary.mu.Lock()
	defer ordinary.mu.Unlock()
	if ordinary.binary == "" {
		test, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		folder, err := os.MkdirTemp(filepath.Dir(test), "rouse")
		if err != nil {
			t.Fatal(err)
		}
		ordinary.binary = build(t, folder, nil)
	}
	return ordinary.binary
}

// build builds the command into a folder.
func build(t testing.TB, folder string, flags []string) string {
	t.Helper()
	binary := filepath.Join(folder, "rouse"+Suffix)
	Go(t, Root(t), append(append([]string{"build", "-ldflags=-w", "-o", binary}, flags...), "./cmd/rouse")...)
	return binary
}

// Go runs a command of Go's in a folder, which must succeed.
func Go(t testing.TB, folder string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), buildTimeout)
	defer cancel()
	cmd := workertest.Build(ctx, "go", args...)
	cmd.Dir = folder
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %v: %v\n%s", args, err, out)
	}
}

// Suffix is what the name of a program ends in.
var Suffix = map[string]string{"windows": ".exe"}[runtime.GOOS]
