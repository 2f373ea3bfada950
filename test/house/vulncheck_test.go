package house_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/test/checkout"
)

// TestVulncheckThatCouldNotCheckIsNoPass: it ends with a code and words of its own, unless it is told where to note that.
func TestVulncheckThatCouldNotCheckIsNoPass(t *testing.T) {
	t.Parallel()
	const unreachable = `govulncheck: fetching vulnerabilities: Get "https://vuln.go.dev/index/db.json.gz": dial tcp: lookup vuln.go.dev: no such host`
	for name, tc := range map[string]struct {
		says       string
		code, want int
		noted      bool
	}{
		"nothing found":          {"No vulnerabilities found.", 0, 0, false},
		"found":                  {"Your code is affected by 1 vulnerability.", 3, 3, false},
		"unreachable":            {unreachable, 1, 75, false},
		"unreachable, and noted": {unreachable, 1, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// A go whose `go install` leaves a govulncheck that says this and ends so.
			folder := t.TempDir()
			checker := filepath.Join(folder, "checker")
			code := map[int]string{0: "0", 1: "1", 3: "3"}[tc.code]
			require.NoError(t, os.WriteFile(checker, []byte("#!/bin/sh\necho '"+tc.says+"'\nexit "+code+"\n"), 0o755)) //nolint:gosec // a program
			installer := filepath.Join(folder, "go")
			require.NoError(t, os.WriteFile(installer, []byte("#!/bin/sh\ncp '"+checker+"' \"$GOBIN/govulncheck\"\n"), 0o755)) //nolint:gosec // a program
			cmd := exec.CommandContext(t.Context(), filepath.Join(checkout.Root(t), "scripts", "vulncheck"))
			cmd.Dir = checkout.Root(t)
			cmd.Env = append(os.Environ(), "GO="+installer, "GOVULNCHECK=x@v1", "UNCHECKED=")
			note := filepath.Join(folder, "note")
			if tc.noted {
				cmd.Env = append(cmd.Env, "UNCHECKED="+note)
			}
			out, _ := cmd.CombinedOutput() // the code is looked at
			require.Equal(t, tc.want, cmd.ProcessState.ExitCode(), "%s", out)
			require.Equal(t, tc.says == unreachable, strings.Contains(string(out), "NOT CHECKED"), "%s", out)
			text, _ := os.ReadFile(note) // it need not be there
			require.Equal(t, tc.noted, len(text) > 0)
		})
	}
}
