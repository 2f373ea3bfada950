package cli

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/rouse-es/rouse/internal/testdb"
)

// TestWorkerSendsSpans to where OpenTelemetry's variables say, the last of them when it stops.
func TestWorkerSendsSpans(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var sent bytes.Buffer
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			unzipped, err := gzip.NewReader(body)
			if !assert.NoError(t, err) {
				return
			}
			body = unzipped
		}
		mu.Lock()
		defer mu.Unlock()
		_, _ = io.Copy(&sent, body)
	}))
	defer collector.Close()
	db := testdb.New(t)
	mustRouse(t, db, "append", "--count", "10")
	r := runRouse(t, append(on(db), "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL), "worker", "--once")
	assert.Zero(t, r.code, r.stderr)
	mu.Lock()
	defer mu.Unlock()
	for _, part := range []string{"handle scalable_projection", "rouse.position.last", "service.name"} {
		assert.Contains(t, sent.String(), part)
	}
}
