package integration_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/workertest"
	"github.com/rouse-es/rouse/test/checkout"
)

// deploymentPage is the page whose commands are run as they are typed.
const deploymentPage = "docs/deployment.md"

// userApp builds the binary of a user, and returns where it is.
func userApp(t *testing.T) string {
	t.Helper()
	dir := repository(t)
	out, err := typing(t, dir, "go build -o bin/myapp .").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return filepath.Join(dir, "bin", "myapp")
}

// repository is that of a user: a program built with package app, in a module of its own, and a copy of deploy/.
func repository(t *testing.T) string {
	t.Helper()
	root, dir := checkout.Root(t), t.TempDir()
	require.NoError(t, os.CopyFS(filepath.Join(dir, "deploy"), os.DirFS(filepath.Join(root, "deploy"))))
	require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "userapp"))))
	version := regexp.MustCompile(`(?m)^go .*$`).FindString(readText(t, root, "go.mod"))
	mod := fmt.Sprintf("module myapp\n\n%s\n\nrequire github.com/rouse-es/rouse v0.0.0\n\nreplace github.com/rouse-es/rouse => %s\n", version, root)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte(mod), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.sum"), []byte(readText(t, root, "go.sum")), 0o600))
	return dir
}

// typing is a shell that runs a block of commands, and ends at the first that fails.
func typing(t *testing.T, dir, block string, env ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), readmePatience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "bash", "-ec", block)
	cmd.Dir, cmd.Env = dir, append(append(workertest.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off"), env...)
	return cmd
}
