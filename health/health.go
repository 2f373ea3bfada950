// Package health answers a supervisor's questions about a rouse.Worker over HTTP.
package health

import (
	"fmt"
	"net/http"

	"github.com/rouse-es/rouse"
)

// Handler answers two paths, with 200 or, and the reasons as lines of text, with 503:
//
//	/healthz  does every loop of the worker run? If not, only a new process helps.
//	/readyz   has every projection caught up once, and does the worker own what it should?
//
// Being behind, a paused projection and a database that is away leave /healthz at 200. A reader that is gone is noticed 5
// seconds after the first question that finds an event unread, so ask every few seconds; each question costs one statement,
// of at most 2 seconds. The answers name projections and positions, and nothing else.
func Handler(w *rouse.Worker) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(rw http.ResponseWriter, r *http.Request) {
		answer(rw, w.Health(r.Context()).Faults)
	})
	mux.HandleFunc("GET /readyz", func(rw http.ResponseWriter, r *http.Request) {
		h := w.Health(r.Context())
		answer(rw, append(h.Faults, h.Waits...))
	})
	return mux
}

func answer(rw http.ResponseWriter, reasons []string) {
	rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
	rw.Header().Set("Cache-Control", "no-store")
	rw.Header().Set("X-Content-Type-Options", "nosniff")
	if len(reasons) == 0 {
		_, _ = fmt.Fprintln(rw, "ok")
		return
	}
	rw.WriteHeader(http.StatusServiceUnavailable)
	for _, reason := range reasons {
		_, _ = fmt.Fprintln(rw, reason)
	}
}
