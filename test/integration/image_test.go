//go:build linux

package integration_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/workertest"
	"github.com/rouse-es/rouse/test/containers"
)

// docker runs a command of Docker's, which must succeed, and returns what it printed.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, "docker", args...).CombinedOutput()
	require.NoError(t, err, "docker %v: %s", args, out)
	return strings.TrimSpace(string(out))
}

// TestImage: the image runs as an ordinary user without a capability and without a file that it could write to, under the rights
// of a worker and with the name of a pod; it handles events, and stops in order.
func TestImage(t *testing.T) {
	t.Parallel()
	containers.Need(t)
	image := fmt.Sprintf("rouse-test-%d:latest", os.Getpid())
	name := fmt.Sprintf("rouse-test-%d-0", os.Getpid())
	build := workertest.Build(context.Background(), "make", "image", "IMAGE="+image)
	build.Dir, build.Env = copyOfCheckout(t), withoutMake(os.Environ())
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Cleanup(func() { // in any order of events, and after a failure too
		_ = exec.Command("docker", "rm", "--force", name).Run()
		docker(t, "image", "rm", "--force", image)
	})
	assert.Contains(t, docker(t, "run", "--rm", "--network", "none", image, "version"), "schema")
	assert.Equal(t, "65532:65532", docker(t, "image", "inspect", "--format", "{{.Config.User}}", image))
	shell := exec.Command("docker", "run", "--rm", "--network", "none", "--entrypoint", "/bin/sh", image)
	require.Error(t, shell.Run(), "there is no shell in it")

	o := newOffice(t)
	docker(t, "run", "--detach", "--name", name, "--network", "host", "--read-only", "--cap-drop", "ALL",
		"--security-opt", "no-new-privileges", "--env", "DATABASE_URL="+o.as("shop_worker"),
		"--env", "WORKER_ID="+name, "--env", "TOTAL_WORKERS=1", image)
	o.must("shop_appender", "append", "--count", "200")
	o.exact()
	o.eventually("the worker to be known by its name", `select count(*) = 1 and bool_and(label = $1 and worker_index = 0) from projection_workers`, name)
	for _, line := range strings.Split(docker(t, "top", name, "-o", "pid,uid"), "\n")[1:] {
		assert.Equal(t, "65532", strings.Fields(line)[1], "nothing in it runs as root")
	}
	docker(t, "stop", "--time", "30", name)
	assert.Equal(t, "0", docker(t, "inspect", "--format", "{{.State.ExitCode}}", name), "it stopped in order: %s", docker(t, "logs", name))
	assert.Contains(t, docker(t, "logs", name), "worker stopped")
	o.eventually("the worker to have taken leave", "select count(*) = 0 from projection_workers")
}
