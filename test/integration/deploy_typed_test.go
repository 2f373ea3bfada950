//go:build linux

package integration_test

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/process"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/test/checkout"
)

// typedUnder are the blocks of commands under a heading of the page.
func typedUnder(t *testing.T, heading string) []string {
	t.Helper()
	blocks := blocksIn(t, readText(t, checkout.Root(t), filepath.FromSlash(deploymentPage)), heading, "sh")
	require.NotEmpty(t, blocks, heading)
	return blocks
}

// TestDeploymentInOrderWorksAsTyped: the list of commands, from a program and a server to a worker that handles events under a role of its
// own, is run by a shell as it stands on the page.
func TestDeploymentInOrderWorksAsTyped(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"psql", "createdb"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("there is no %s on this machine, which the page types", tool)
		}
	}
	server := testdb.Server(t, nil)
	address, err := url.Parse(server.URL("shop"))
	require.NoError(t, err)
	env := []string{"PGHOST=" + address.Hostname(), "PGPORT=" + address.Port(), "PGUSER=" + address.User.Username(),
		"PGPASSFILE=" + address.Query().Get("passfile"), "PGSSLMODE=disable", "USERAPP_ANNOUNCE=yes"}
	blocks := typedUnder(t, "## In which order")
	require.Len(t, blocks, 1)
	cmd := typing(t, repository(t), blocks[0], env...)
	started := make(chan struct{}, 1)
	cmd.Stdout = &process.Lines{Each: func(line string) {
		if line == "started" {
			started <- struct{}{}
		}
	}}
	log := &process.Lines{Keep: 100}
	p, err := process.Start(cmd, "the shell", process.Options{Output: log})
	require.NoError(t, err)
	t.Cleanup(func() { _ = syscall.Kill(-p.PID(), syscall.SIGKILL) })
	select {
	case <-started:
	case <-p.Exited:
		t.Fatalf("the commands have ended before a worker was at work: %v\n%s", p.Wait(), log)
	}

	pool, err := pgxpool.New(t.Context(), server.URL("shop"))
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	_, err = pool.Exec(t.Context(), `insert into rouse.events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 'thing', n::text, 1, 'happened', '{}' from generate_series(1, 20) n`)
	require.NoError(t, err)
	testdb.Eventually(t, patience, "the events to be handled", func() (done bool, err error) {
		return done, pool.QueryRow(t.Context(), "select coalesce(sum(events), 0) = 20 from rouse.orders").Scan(&done)
	})
	require.NoError(t, syscall.Kill(-p.PID(), syscall.SIGINT), "Ctrl+C reaches all that the terminal runs")
	require.NoError(t, p.Wait(), "%s", log)
	require.Contains(t, log.String(), "worker stopped")
}

// TestDeploymentCommandsFindTheirFiles: the commands under systemd, Docker, Compose and Kubernetes are run in the repository of a user, with
// folders of their own in place of /etc and /usr/local, and with programs that do nothing in place of those that are not here. What they
// copy is there, and what is built runs.
func TestDeploymentCommandsFindTheirFiles(t *testing.T) {
	t.Parallel()
	dir, root, programs := repository(t), t.TempDir(), t.TempDir()
	for _, name := range []string{"docker", "kubectl", "systemctl"} {
		stub := "#!/bin/sh\necho " + name + " \"$@\" >>" + filepath.Join(programs, "log") + "\n"
		require.NoError(t, os.WriteFile(filepath.Join(programs, name), []byte(stub), 0o700)) //nolint:gosec // a program has to be executable
	}
	for _, folder := range []string{"usr/local/bin", "etc/systemd/system", "etc/ssl/certs"} {
		require.NoError(t, os.MkdirAll(filepath.Join(root, folder), 0o750))
	}
	require.NoError(t, os.WriteFile(filepath.Join(root, "etc/ssl/certs/ca-certificates.crt"), []byte("none\n"), 0o600))
	out, err := typing(t, dir, "CGO_ENABLED=0 go build -trimpath -o bin/myapp .").CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, heading := range []string{"## systemd", "## Docker", "## Compose", "## Kubernetes"} {
		for _, block := range typedUnder(t, heading) {
			block = regexp.MustCompile(`(^|[ :])(/etc/|/usr/local/)`).ReplaceAllString(block, "${1}"+root+"${2}")
			cmd := typing(t, dir, block, "PATH="+programs+":"+os.Getenv("PATH"))
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s:\n%s\n%s", heading, block, out)
		}
	}
	for _, file := range []string{"usr/local/bin/myapp", "etc/systemd/system/projection-worker@.service", "etc/rouse/rouse.env", "etc/rouse/pgpass"} {
		require.FileExists(t, filepath.Join(root, file))
	}
	for _, file := range []string{"image/ca-certificates.crt", "deploy/Dockerfile", "deploy/compose/.env", "deploy/compose/secrets/worker_pgpass"} {
		require.FileExists(t, filepath.Join(dir, file))
	}
	for _, binary := range []string{filepath.Join(root, "usr/local/bin/myapp"), filepath.Join(dir, "image/myapp")} {
		out, err := exec.CommandContext(t.Context(), binary, "version").CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "myapp")
	}
	log := readText(t, programs, "log")
	for _, typed := range []string{"docker build --build-arg PROGRAM=myapp -t myapp:latest -f deploy/Dockerfile image\n", "systemctl enable --now projection-worker@0"} {
		require.Contains(t, log, typed)
	}
}
