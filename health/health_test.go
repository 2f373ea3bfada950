package health_test

import (
	"context"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/health"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
)

func TestMain(m *testing.M) { testdb.Main(m) }

type nothing struct{}

func (nothing) Name() string                                          { return "nothing" }
func (nothing) Apply(context.Context, pgx.Tx, eventstore.Event) error { return nil }

// TestHandler says how the worker is while it starts, works, and has ended.
func TestHandler(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	w := workertest.New(t, db.Pool, rouse.Config{Projections: []rouse.Projection{nothing{}}})
	handler := health.Handler(w)
	get := func(path string) (int, string) {
		rw := httptest.NewRecorder()
		handler.ServeHTTP(rw, httptest.NewRequest("GET", path, nil))
		return rw.Code, rw.Body.String()
	}
	code, body := get("/healthz")
	assert.Equal(t, 200, code)
	assert.Equal(t, "ok\n", body)
	code, body = get("/readyz")
	assert.Equal(t, 503, code)
	assert.Equal(t, "the worker has not started\n", body)

	running := workertest.Run(t, w)
	testdb.Eventually(t, time.Minute, "the worker to be ready", func() (bool, error) {
		code, _ := get("/readyz")
		return code == 200, nil
	})
	code, _ = get("/healthz")
	assert.Equal(t, 200, code)
	code, _ = get("/elsewhere")
	assert.Equal(t, 404, code)

	running.MustStop()
	for _, path := range []string{"/healthz", "/readyz"} {
		code, body = get(path)
		assert.Equal(t, 503, code)
		assert.Equal(t, "the worker has ended\n", body)
	}
}
