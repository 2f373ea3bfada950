// Package health answers the probes of a supervisor about a rouse.Worker or a rouse.Group over HTTP.
package health

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/rouse-es/rouse"
)

// Handler returns a handler of two paths. Each answers with 200, or with 503 and the reasons as lines of text:
//
//	/healthz  does every loop of the worker run? If not, only a new process helps.
//	/readyz   has every projection caught up once, and does the worker own the partitions that it should?
//
// Being behind, a paused projection and an unreachable database leave /healthz at 200. A reader that no longer runs is
// noticed 5 seconds after the first request that finds an event unread, so ask every few seconds; each request costs
// one statement, of at most 2 seconds. The answers name projections and positions, and nothing else.
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

// GroupHandler returns a handler of the same paths for a rouse.Group:
//
//	/healthz  does every loop run, of the group and of the worker of each schema?
//	/readyz   has the group started, and is one schema ready at least?
//
// A schema that is broken takes nobody else out of service, so /readyz then still answers with 200; below that it has a line
// for each schema that is not ready, with the reason: what the log says of it too, but nothing that a handler has said. Each request costs ten statements at most.
func GroupHandler(g *rouse.Group) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(rw http.ResponseWriter, r *http.Request) {
		answer(rw, g.Health(r.Context()).Faults)
	})
	mux.HandleFunc("GET /readyz", func(rw http.ResponseWriter, r *http.Request) {
		h := g.Health(r.Context())
		answer(rw, append(h.Faults, h.Waits...))
		for _, schema := range slices.Sorted(maps.Keys(h.Schemas)) {
			if waits := h.Schemas[schema].Waits; len(waits) > 0 {
				_, _ = fmt.Fprintf(rw, "schema %s: %s\n", schema, strings.Join(waits, "; "))
			}
		}
	})
	return mux
}

// answer writes 200 if there are no reasons, and otherwise 503 and the reasons.
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
