// Package dashboard is a page that shows how projections and workers are, live, and lets who knows a token pause, resume, retry
// and discard.
//
//	d := dashboard.New(dashboard.Config{Pool: pool, Token: token})
//	defer d.Close()
//	http.ListenAndServe("127.0.0.1:8080", d)
//
// Everything comes out of the database, so it shows all workers and also answers while none runs. However many browsers look,
// the database is asked once a second, and not at all while nobody looks. It can stand below a path, behind http.StripPrefix.
package dashboard

import (
	"embed"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
)

//go:embed page
var page embed.FS

// Config is what a Dashboard needs. All fields but Pool may be left out.
type Config struct {
	// Pool leads to the database; it is not closed. A look takes one connection at a time. Its role needs the rights of a
	// reader, and those of a worker for actions; see docs/security.md.
	Pool *pgxpool.Pool

	// Token is what has to be known to look and to act: it is typed into a form, or comes as Authorization: Bearer TOKEN. Make
	// it long and random. Empty: anybody may look, nobody may act, and only requests for an address of this machine
	// (localhost, 127.0.0.1, [::1]) are answered, so that no web page can reach it under a name of its own.
	Token string

	// Log is told who acted and what went wrong. The zero value is silent.
	Log zerolog.Logger
}

// Dashboard is an http.Handler. Its methods may be used by many goroutines.
type Dashboard struct {
	cfg    Config
	guard  guard
	stream *stream
	routes http.Handler
}

// New makes a Dashboard. Close it at the end.
func New(cfg Config) *Dashboard {
	d := &Dashboard{cfg: cfg, guard: newGuard(cfg.Token, cfg.Log)}
	d.stream = newStream(newLooker(cfg.Pool, cfg.Log))
	mux := http.NewServeMux()
	for _, name := range []string{"style.css", "app.js", "icon.svg"} { // which say nothing, and the form needs them too
		mux.HandleFunc("GET /"+name, func(rw http.ResponseWriter, _ *http.Request) { file(rw, http.StatusOK, name) })
	}
	mux.HandleFunc("GET /{$}", d.index)
	mux.HandleFunc("POST /login", d.guard.login)
	mux.HandleFunc("POST /logout", d.guard.logout)
	mux.Handle("GET /events", d.guard.looks(d.events))
	mux.Handle("GET /payload", d.guard.acts(d.payload))
	for name, act := range actions {
		mux.Handle("POST /"+name, d.guard.acts(d.act(name, act)))
	}
	d.routes = d.guard.around(mux)
	return d
}

// ServeHTTP answers a request.
func (d *Dashboard) ServeHTTP(rw http.ResponseWriter, r *http.Request) { d.routes.ServeHTTP(rw, r) }

// Close ends all streams and waits for the last look at the database. Call it before http.Server.Shutdown, which waits for
// streams, or register it there with RegisterOnShutdown. It may be called more than once.
func (d *Dashboard) Close() { d.stream.close() }

// index is the page, or the form that asks for the token.
func (d *Dashboard) index(rw http.ResponseWriter, r *http.Request) {
	if !d.guard.mayLook(r) {
		form(rw, "")
		return
	}
	file(rw, http.StatusOK, "index.html")
}

// mediaTypes are those of the files, which do not depend on what the machine thinks of their names.
var mediaTypes = map[string]string{
	".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

// file sends an embedded file, with replacements as strings.NewReplacer takes them.
func file(rw http.ResponseWriter, status int, name string, replaced ...string) {
	body, err := page.ReadFile("page/" + name)
	if err != nil {
		http.Error(rw, "this file is missing in the program", http.StatusInternalServerError)
		return
	}
	rw.Header().Set("Content-Type", mediaTypes[path.Ext(name)])
	rw.WriteHeader(status)
	_, _ = strings.NewReplacer(replaced...).WriteString(rw, string(body))
}

// now is the time as the page has it, in milliseconds since 1970.
func now() int64 { return time.Now().UnixMilli() }
