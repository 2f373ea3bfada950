package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestCompletion: there is a script for each shell, which the shell can read, and it is told the verbs and the flags.
func TestCompletion(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish"} {
		r := runRouse(t, nil, "completion", shell)
		require.Zero(t, r.code, r.stderr)
		assert.Contains(t, r.stdout, "__complete", "%s: the script asks the program", shell)
		program, err := exec.LookPath(shell)
		if err != nil {
			continue // the script is the same everywhere; who has the shell checks it
		}
		script := filepath.Join(t.TempDir(), "rouse."+shell)
		require.NoError(t, os.WriteFile(script, []byte(r.stdout), 0o600))
		out, err := exec.CommandContext(t.Context(), program, "-n", script).CombinedOutput()
		require.NoError(t, err, "%s -n: %s", shell, out)
	}
	verbs := runRouse(t, nil, "__complete", "")
	require.Zero(t, verbs.code, verbs.stderr)
	for _, verb := range []string{"migrate", "append", "worker", "status", "doctor", "parked", "projection", "completion"} {
		assert.Regexp(t, `(?m)^`+verb+`\t`, verbs.stdout)
	}
	assert.Regexp(t, `(?m)^resize\t`, runRouse(t, nil, "__complete", "projection", "").stdout)
	assert.Regexp(t, `(?m)^--lease-ttl\t`, runRouse(t, nil, "__complete", "worker", "--lease").stdout)
}
