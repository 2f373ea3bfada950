//go:build unix

package integration_test

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/test/checkout"
	"github.com/rouse-es/rouse/test/knownbad"
)

// copyOfCheckout copies the source, so that what make builds in it is in nobody's way.
func copyOfCheckout(t *testing.T) string {
	t.Helper()
	root, to := checkout.Root(t), t.TempDir()
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		name, _ := filepath.Rel(root, path)
		switch {
		case err != nil:
			return err
		case slices.Contains([]string{".git", "bin", "dist"}, name):
			if entry.IsDir() {
				return filepath.SkipDir
			}
			return nil
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o700)
		case !entry.Type().IsRegular():
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), text, 0o600)
	}))
	return to
}

// withoutMake leaves out what a make that runs the tests tells its own children.
func withoutMake(env []string) []string {
	return slices.DeleteFunc(env, func(variable string) bool {
		return strings.HasPrefix(variable, "MAKE") || strings.HasPrefix(variable, "MFLAGS=")
	})
}

// TestMakeRunEndsAsTheProgramDoes: whoever runs it through make meets its end, not that of a shell in between: a stop is no
// error, a signal to make reaches it, its exit code comes through, and nothing stays.
func TestMakeRunEndsAsTheProgramDoes(t *testing.T) {
	t.Parallel()
	folder := copyOfCheckout(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*readmePatience)
	defer cancel()
	run := func(db *testdb.DB, stop func(pid int) error, args ...string) string {
		var out lines
		cmd := exec.CommandContext(ctx, "make", append([]string{"run"}, args...)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // as at a terminal
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
		cmd.Dir, cmd.Stdout, cmd.Stderr = folder, &out, &out
		cmd.Env = append(withoutMake(os.Environ()), "DATABASE_URL="+db.URL)
		require.NoError(t, cmd.Start())
		if stop != nil {
			testdb.Eventually(t, readmePatience, "the worker to work", func() (bool, error) {
				return regexp.MatchString(`[1-9] s  appended `, out.String()) // a busy machine may leave out any single second
			})
			require.NoError(t, stop(cmd.Process.Pid))
		}
		require.Error(t, cmd.Wait(), "make itself ends by the signal, or with an error")
		assert.True(t, strings.HasPrefix(out.String(), "make: building bin/rouse\n"), "one line while it builds: %s", out.String())
		var schemas int
		require.NoError(t, db.Pool.QueryRow(ctx, "select count(*) from pg_namespace where nspname like 'rouse_demo_%'").Scan(&schemas))
		assert.Zero(t, schemas)
		require.ErrorIs(t, syscall.Kill(-cmd.Process.Pid, 0), syscall.ESRCH, "a process is left")
		return out.String()
	}
	for name, stop := range map[string]func(pid int) error{
		"Ctrl+C":          func(pid int) error { return syscall.Kill(-pid, syscall.SIGINT) },
		"SIGTERM to make": func(pid int) error { return syscall.Kill(pid, syscall.SIGTERM) },
	} {
		out := run(testdb.Empty(t), stop)
		assert.Contains(t, out, "verdict: right", name)
		assert.NotContains(t, out, "***", name)
	}
	out := run(testdb.Empty(t), nil, "DURATION=4s", "RATE=600", "GOFLAGS="+knownbad.Overlay(t, folder, knownbad.Demo)) // leaves out one event in a thousand
	assert.Contains(t, out, "verdict: WRONG")
	assert.Regexp(t, `make: \*\*\* .*Error 6\n`, out)
}
