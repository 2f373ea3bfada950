package cli

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
)

// served waits until a worker serves, and returns a function that asks it, with a token or none, and under another name if one is
// given.
func served(t *testing.T, p *workertest.Program) (get func(path, token string, host ...string) (int, string)) {
	t.Helper()
	base := p.Address(t)
	client := &http.Client{Timeout: time.Minute}
	t.Cleanup(client.CloseIdleConnections)
	return func(path, token string, host ...string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+path, nil)
		require.NoError(t, err)
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		for _, name := range host {
			req.Host = name
		}
		resp, err := client.Do(req)
		require.NoError(t, err)
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(body)
	}
}

// TestWorkerServesHTTP: metrics and probes on this machine, and it stops in order.
func TestWorkerServesHTTP(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	mustRouse(t, db, "append", "--count", "20")
	p := startRouse(t, on(db), "worker", "--http", "127.0.0.1:0")
	get := served(t, p)
	testdb.Eventually(t, processTimeout, "the worker to be ready", func() (bool, error) {
		code, _ := get("/readyz", "")
		return code == 200, nil
	})
	code, _ := get("/healthz", "")
	assert.Equal(t, 200, code)
	code, body := get("/metrics", "")
	assert.Equal(t, 200, code)
	assert.Contains(t, body, `rouse_events_handled_total{projection="scalable_projection"} 20`)
	code, body = get("/", "")
	assert.Equal(t, 200, code)
	assert.Contains(t, body, "Newest events", "the dashboard")
	code, body = get("/metrics", "", "elsewhere.example")
	assert.Equal(t, http.StatusMisdirectedRequest, code, "the name of a web page that somebody has pointed at this machine")
	assert.NotContains(t, body, "rouse_")
	p.Signal(t, syscall.SIGTERM)
	assert.Zero(t, p.Wait(t))
	assert.Contains(t, p.Stderr.String(), "worker stopped")
}

// TestProfiles are there if they are asked for, and never beyond this machine.
func TestProfiles(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	get := served(t, startRouse(t, on(db), "worker", "--http", "127.0.0.1:0", "--pprof"))
	code, body := get("/debug/pprof/goroutine?debug=1", "")
	assert.Equal(t, 200, code)
	assert.Contains(t, body, "goroutine profile: total")
	code, _ = get("/debug/pprof/trace?seconds=0.01", "")
	assert.Equal(t, 200, code)

	get = served(t, startRouse(t, on(db), "worker", "--http", "127.0.0.1:0"))
	code, _ = get("/debug/pprof/goroutine?debug=1", "")
	assert.Equal(t, 404, code)

	requireFault(t, runRouse(t, on(db), "worker", "--pprof"), exitUsage, "--pprof needs --http")
	requireFault(t, runRouse(t, append(on(db), "ROUSE_HTTP_TOKEN=t0ken"), "worker", "--pprof", "--http", "0.0.0.0:0"), exitUsage, "--pprof is for this machine only")
}

// TestHTTPBeyondThisMachineNeedsAToken for all but the probes.
func TestHTTPBeyondThisMachineNeedsAToken(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	requireFault(t, runRouse(t, on(db), "worker", "--http", "0.0.0.0:0"), exitUsage, "needs a token", "ROUSE_HTTP_TOKEN")
	requireFault(t, runRouse(t, on(db), "dashboard", "--http", "0.0.0.0:0"), exitUsage, "needs a token", "ROUSE_HTTP_TOKEN")
	requireFault(t, runRouse(t, on(db), "worker", "--http", "nowhere:port"), exitUsage, "--http nowhere:port")
	empty := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(empty, []byte("\n"), 0o600))
	requireFault(t, runRouse(t, on(db), "worker", "--http", "0.0.0.0:0", "--http-token-file", empty), exitUsage, "is empty")

	short := filepath.Join(t.TempDir(), "short")
	require.NoError(t, os.WriteFile(short, []byte("  15-characters--\r\n\n"), 0o600))
	requireFault(t, runRouse(t, on(db), "worker", "--http", "0.0.0.0:0", "--http-token-file", short), exitUsage, "fewer than 16 characters", "openssl rand")
	for _, verb := range []string{"worker", "dashboard"} {
		requireFault(t, runRouse(t, append(on(db), "ROUSE_HTTP_TOKEN=x\n"), verb, "--http", "0.0.0.0:0"), exitUsage, "fewer than 16 characters")
		requireFault(t, runRouse(t, append(on(db), "ROUSE_HTTP_TOKEN=sixteen\ncharacters"), verb, "--http", "0.0.0.0:0"), exitUsage, "spaces or line breaks in it")
	}
	served(t, startRouse(t, append(on(db), "ROUSE_HTTP_TOKEN=x"), "worker", "--http", "127.0.0.1:0")) // nobody else gets there

	const token = "sixteen-letters!"
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte(token+"\r\n\n"), 0o600))
	get := served(t, startRouse(t, on(db), "worker", "--http", "0.0.0.0:0", "--http-token-file", file))
	for _, path := range []string{"/healthz", "/readyz"} {
		code, _ := get(path, "")
		assert.NotEqual(t, http.StatusUnauthorized, code, path)
	}
	code, body := get("/metrics", "")
	assert.Equal(t, http.StatusUnauthorized, code)
	assert.NotContains(t, body, "rouse_")
	for _, path := range []string{"/", "/events"} {
		code, _ = get(path, "")
		assert.Equal(t, http.StatusUnauthorized, code, path)
	}
	code, _ = get("/metrics", "wrong")
	assert.Equal(t, http.StatusUnauthorized, code)
	code, _ = get("/metrics", token)
	assert.Equal(t, 200, code)
}
