package integration_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/pgserver"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/test/process"
)

// clockScript is a postgres whose wall clock is off by what a file says, such as "+1h"; the file is read every second.
const clockScript = `#!/bin/sh
export LD_PRELOAD=%q FAKETIME_TIMESTAMP_FILE=%q FAKETIME_CACHE_DURATION=1 FAKETIME_DONT_FAKE_MONOTONIC=1
exec %q "$@"
`

// clock is the wall clock of one server, as far as it is from that of everybody else.
type clock struct{ path string }

func (c clock) set(t *testing.T, offset string) {
	t.Helper()
	next := c.path + ".next"
	require.NoError(t, os.WriteFile(next, []byte(offset+"\n"), 0o644))
	require.NoError(t, os.Rename(next, c.path))
}

// serverWithAClock runs a server whose clock can be set. That libfaketime does not change the clock of a Go program is no
// matter: between a worker and its server there is only one difference.
func serverWithAClock(t *testing.T, offset string) (*pgserver.Server, clock) {
	t.Helper()
	libraries, _ := filepath.Glob("/usr/lib*/*/faketime/libfaketime.so.1")
	if len(libraries) == 0 {
		t.Skip("there is no libfaketime here, so nothing is said of clocks: install the package faketime")
	}
	real := programs(t)
	bin, err := os.MkdirTemp("/tmp", "rouse-clock-") // where the server's account may pass
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(bin) })
	require.NoError(t, os.Chmod(bin, 0o755))
	c := clock{filepath.Join(bin, "clock")}
	c.set(t, offset)
	script := fmt.Sprintf(clockScript, libraries[0], c.path, filepath.Join(real, "postgres"))
	require.NoError(t, os.WriteFile(filepath.Join(bin, "postgres"), []byte(script), 0o755))
	require.NoError(t, os.Symlink(filepath.Join(real, "initdb"), filepath.Join(bin, "initdb")))
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	server, err := pgserver.Start(ctx, pgserver.Config{BinDir: bin, Settings: map[string]string{"fsync": "off"}})
	require.NoError(t, err)
	testdb.StopAtCleanup(t, server)
	return server, c
}

// programs is the folder of an installed server's programs.
func programs(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("ROUSE_PG_BIN"); dir != "" {
		return dir
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if path, err := exec.LookPath("postgres"); err == nil {
		found = append(found, path)
	}
	if len(found) == 0 {
		t.Skip("no PostgreSQL is installed whose programs could be wrapped, so nothing is said of clocks")
	}
	path, err := filepath.EvalSymlinks(found[len(found)-1])
	require.NoError(t, err)
	return filepath.Dir(path)
}

// The server's clock is a day ahead of its workers', steps back by two, and ahead again, under load. Workers share, one that
// is frozen and one that is killed are replaced, and nothing is handled twice: the server's clock alone judges heartbeats, and
// of its own clock a worker uses only what has passed.
func TestClocksThatDisagree(t *testing.T) {
	t.Parallel()
	server, clock := serverWithAClock(t, "+1d")
	c := &crew{stage: newStage(t, testdb.On(t, server)), order: elasticOrder{TTL: time.Second}, workers: map[string]*process.Process{}}
	c.order.URL = c.URL
	t.Cleanup(c.disband)
	ahead := func(hours float64) func() (bool, error) {
		return func() (bool, error) { return time.Until(c.now()).Hours() > hours, nil }
	}
	testdb.Eventually(t, patience, "the server's clock to be ahead", ahead(23))
	c.join("w0")
	c.join("w1")
	c.settled(16, 16)
	load := c.startLoad(c.pool(c.URL), 2, 5*time.Millisecond)
	load.more(t, 50)
	require.NoError(t, c.workers["w0"].Signal(syscall.SIGSTOP))
	c.settled(32)
	load.more(t, 20)
	require.NoError(t, c.workers["w0"].Signal(syscall.SIGCONT))
	c.settled(16, 16)
	clock.set(t, "-1d")
	testdb.Eventually(t, patience, "the server's clock to have stepped back", func() (bool, error) { return c.now().Before(time.Now().Add(-23 * time.Hour)), nil })
	c.kill("w1") // its last word may be in the future now, as is the start of the server
	c.settled(32)
	c.join("w1")
	c.settled(16, 16)
	load.more(t, 50)
	c.settled(16, 16)
	clock.set(t, "+1d")
	testdb.Eventually(t, patience, "the server's clock to have stepped ahead", ahead(23))
	load.more(t, 50)
	c.settled(16, 16)
	load.stop()
	c.exact(elasticProjection)
	c.durable(load)
}
