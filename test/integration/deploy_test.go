package integration_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/test/checkout"
)

// deployed are the files of deploy/, by their path in it.
func deployed(t *testing.T) map[string]string {
	t.Helper()
	root := filepath.Join(checkout.Root(t), "deploy")
	texts := map[string]string{}
	require.NoError(t, filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			name, _ := filepath.Rel(root, path)
			texts[filepath.ToSlash(name)] = readText(t, path)
		}
		return err
	}))
	require.Contains(t, texts, "compose/compose.yaml")
	return texts
}

// scalerQuery is the query of the example that scales on the lag, on one line as YAML folds it.
func scalerQuery(t *testing.T) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^ +query: >-\n((?: {10}.*\n)+)`).FindStringSubmatch(deployed(t)["kubernetes/overlays/elastic-scaled/scaledobject.yaml"])
	require.Len(t, m, 2)
	return strings.Join(strings.Fields(m[1]), " ")
}

// TestDeployNamesWhatExists: every verb, flag and variable that units, Compose and Kubernetes use is one that a user's binary has.
func TestDeployNamesWhatExists(t *testing.T) {
	t.Parallel()
	binary := userApp(t)
	help := func(words ...string) string {
		ctx, cancel := context.WithTimeout(context.Background(), readmePatience)
		defer cancel()
		out, err := exec.CommandContext(ctx, binary, append(words, "--help")...).CombinedOutput()
		require.NoError(t, err, "myapp %v: %s", words, out)
		return string(out)
	}
	worker := help("worker")
	started := regexp.MustCompile(`(?m)^\s*(?:args: \[|command: \[|CMD \[|ExecStart=/usr/local/bin/myapp )(\w.*|".*)$`)
	variable := regexp.MustCompile(`\b(ROUSE_[A-Z_]+|WORKER_ID|TOTAL_WORKERS|DATABASE_URL)(?:=|:)|name: (ROUSE_[A-Z_]+|WORKER_ID|TOTAL_WORKERS|DATABASE_URL)\b`)
	verbs, variables := 0, 0
	for name, text := range deployed(t) {
		for _, m := range started.FindAllStringSubmatch(text, -1) {
			words := strings.FieldsFunc(m[1], func(r rune) bool { return strings.ContainsRune(`[]", `, r) })
			verbs++
			usage := help(words[0])
			assert.Regexp(t, `(?m)^  myapp .*\b`+words[0]+`\b`, usage, name)
			for _, flag := range words[1:] {
				if !strings.HasPrefix(flag, "--") {
					continue
				}
				assert.Regexp(t, flag+`\b`, usage, "%s: myapp %s", name, words[0])
			}
		}
		for _, m := range variable.FindAllStringSubmatch(text, -1) {
			if word := m[1] + m[2]; word != "APP_IMAGE" { // Compose's own
				variables++
				assert.Regexp(t, `\(env .*\b`+word+`\b`, worker, name)
			}
		}
	}
	assert.GreaterOrEqual(t, verbs, 8)
	assert.GreaterOrEqual(t, variables, 15)
}

// TestSystemdUnits: systemd understands every line, gives a worker the time to stop, starts it again, and finds little that it
// could do beyond its work.
func TestSystemdUnits(t *testing.T) {
	t.Parallel()
	stop := regexp.MustCompile(`(?m)^TimeoutStopSec=(\d+)$`)
	folder := t.TempDir()
	var files []string
	for name, text := range deployed(t) {
		if !strings.HasSuffix(name, ".service") {
			continue
		}
		assert.Contains(t, text, "\nRestart=always\n", name)
		assert.Contains(t, text, "\nRestartPreventExitStatus=64\n", name+": a fault of usage, and not 2, with which Go ends what has crashed")
		assert.Contains(t, text, "\nKillSignal=SIGTERM\n", name)
		m := stop.FindStringSubmatch(text)
		require.Len(t, m, 2, name)
		seconds, err := time.ParseDuration(m[1] + "s")
		require.NoError(t, err)
		assert.Greater(t, seconds, 15*time.Second, "a worker has 10 seconds for the batch in hand, and gives its partitions up after that")
		// The program is not installed here, and systemd looks for it.
		text = strings.ReplaceAll(text, "/usr/local/bin/myapp", "/bin/true")
		files = append(files, filepath.Join(folder, filepath.Base(name)))
		require.NoError(t, os.WriteFile(files[len(files)-1], []byte(text), 0o600))
	}
	require.Len(t, files, 2)
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("there is no systemd-analyze on this machine, so nobody says whether the units are understood")
	}
	run := func(args ...string) string {
		ctx, cancel := context.WithTimeout(context.Background(), readmePatience)
		defer cancel()
		out, err := exec.CommandContext(ctx, analyze, args...).CombinedOutput()
		require.NoError(t, err, "systemd-analyze %v: %s", args, out)
		return string(out)
	}
	for line := range strings.Lines(run(append([]string{"verify"}, files...)...)) {
		assert.NotContains(t, line, "projection-worker") // it also speaks of what else is on the machine
	}
	for _, file := range files {
		run("security", "--offline=true", "--threshold=20", file) // 2.0 of 10
	}
}
