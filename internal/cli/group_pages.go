package cli

import (
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/dashboard"
)

const (
	// maxPages is how many schemas have a dashboard at the same time. One more takes the place of the one that was asked longest ago.
	maxPages = 8

	// pageConns is how many connections a dashboard takes while a browser looks at it, and pageIdle how long it keeps them afterwards.
	pageConns = 2
	pageIdle  = 15 * time.Second
)

// groupPages serves a list of the schemas of a group, and the dashboard of each at /schemas/NAME/.
type groupPages struct {
	e      *env
	g      *rouse.Group
	server *httpServer
	routes http.Handler

	mu     sync.Mutex // protects the fields below
	pages  map[string]*groupPage
	closed bool
}

// groupPage is the dashboard of one schema.
type groupPage struct {
	pool  *pgxpool.Pool
	page  *dashboard.Dashboard
	asked time.Time
}

func (p *groupPage) close() {
	p.page.Close()
	p.pool.Close()
}

func newGroupPages(e *env, g *rouse.Group, server *httpServer) *groupPages {
	p := &groupPages{e: e, g: g, server: server, pages: map[string]*groupPage{}}
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", server.guarded(http.HandlerFunc(p.list)))
	mux.HandleFunc("/schemas/{schema}/{rest...}", p.of)
	p.routes = mux
	return p
}

// ServeHTTP implements http.Handler.
func (p *groupPages) ServeHTTP(rw http.ResponseWriter, r *http.Request) { p.routes.ServeHTTP(rw, r) }

// close ends the streams of all dashboards.
func (p *groupPages) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, page := range p.pages {
		page.close()
	}
}

// of serves the dashboard of a schema.
func (p *groupPages) of(rw http.ResponseWriter, r *http.Request) {
	page, err := p.page(r, r.PathValue("schema"))
	switch {
	case err != nil:
		p.e.log.Warn().Err(err).Msg("cannot make the dashboard of a schema")
		http.Error(rw, "the dashboard of this schema cannot be made (see the log)", http.StatusServiceUnavailable)
		return
	case page == nil:
		http.Error(rw, "the group has no such schema", http.StatusNotFound)
		return
	}
	inner := r.Clone(r.Context())
	inner.URL.Path, inner.URL.RawPath = "/"+r.PathValue("rest"), ""
	p.e.speakingPage(page).ServeHTTP(rw, inner)
}

// page returns the dashboard of a schema, and makes it if there is none; nil: the group does not have the schema.
func (p *groupPages) page(r *http.Request, schema string) (*dashboard.Dashboard, error) {
	if _, known := p.g.Status().Schemas[schema]; !known {
		return nil, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, http.ErrServerClosed
	}
	page := p.pages[schema]
	if page == nil {
		p.makeRoom()
		db := p.e.db
		db.Schema = schema
		cfg, err := db.PoolConfig("dashboard")
		if err != nil {
			return nil, err
		}
		cfg.MinConns, cfg.MaxConns, cfg.MaxConnIdleTime, cfg.HealthCheckPeriod = 0, pageConns, pageIdle, pageIdle
		pool, err := pgxpool.NewWithConfig(r.Context(), cfg)
		if err != nil {
			return nil, err
		}
		page = &groupPage{pool: pool, page: dashboard.New(dashboard.Config{Pool: pool, Token: p.server.token, Log: p.e.log.With().Str("schema", schema).Logger()})}
		p.pages[schema] = page
	}
	page.asked = time.Now()
	return page.page, nil
}

// makeRoom closes the dashboard that was asked longest ago if there are too many. The caller holds the mutex.
func (p *groupPages) makeRoom() {
	if len(p.pages) < maxPages {
		return
	}
	oldest := ""
	for schema, page := range p.pages {
		if oldest == "" || page.asked.Before(p.pages[oldest].asked) {
			oldest = schema
		}
	}
	p.pages[oldest].close()
	delete(p.pages, oldest)
}

// listed is one row of the list.
type listed struct{ Schema, Path, State string }

// list serves the list.
func (p *groupPages) list(rw http.ResponseWriter, _ *http.Request) {
	status := p.g.Status()
	var rows []listed
	for _, schema := range slices.Sorted(maps.Keys(status.Schemas)) {
		row := listed{Schema: schema, Path: "schemas/" + url.PathEscape(schema) + "/", State: status.Schemas[schema].Worker.Mode}
		if err := status.Schemas[schema].Err; err != nil {
			row.State = p.e.speak(oneLine(plain(err)))
		}
		rows = append(rows, row)
	}
	rw.Header().Set("Content-Type", "text/html; charset=utf-8")
	rw.Header().Set("Cache-Control", "no-store")
	rw.Header().Set("X-Content-Type-Options", "nosniff")
	rw.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	_ = listPage.Execute(rw, struct {
		Program string
		Rows    []listed
	}{p.server.program, rows})
}

var listPage = template.Must(template.New("list").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{{.Program}}</title>
<h1>{{len .Rows}} schemas</h1>
<table>
{{range .Rows}}<tr><td><a href="{{.Path}}">{{.Schema}}</a></td><td>{{.State}}</td></tr>
{{end}}</table>
</html>
`))
