package cli

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rs/zerolog"
	"github.com/spf13/pflag"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/dashboard"
	"github.com/rouse-es/rouse/health"
	"github.com/rouse-es/rouse/metrics"
)

// tokenVariable holds the token of --http. There is no flag for it, because others see the flags of a process.
const tokenVariable = "ROUSE_HTTP_TOKEN"

// minToken is how many characters a token has at least where others can try to guess it: nothing slows them down.
const minToken = 16

// httpFlags say where and to whom something is served.
type httpFlags struct {
	address, tokenFile string
	pprof              bool
}

// register adds the flags, with the address that is used if none is given and what is served there.
func (f *httpFlags) register(flags *pflag.FlagSet, address, what string) {
	flags.StringVar(&f.address, "http", address, "serve "+what+" at HOST:PORT; beyond this machine a token of at least "+strconv.Itoa(minToken)+" characters is needed")
	flags.StringVar(&f.tokenFile, "http-token-file", "", "file with the token for all but /healthz and /readyz; or the variable "+tokenVariable)
	fromEnv(flags, "http", "ROUSE_HTTP")
	fromEnv(flags, "http-token-file", "ROUSE_HTTP_TOKEN_FILE")
}

// httpServer serves at one address.
type httpServer struct {
	log      zerolog.Logger
	program  string // its name
	listener net.Listener
	token    string // empty: nobody needs one
	pprof    bool   // profiles are served
}

// listenHTTP opens the address; nil: none is given. An address that others can reach needs a token.
func listenHTTP(ctx context.Context, e *env, f httpFlags) (*httpServer, error) {
	token, err := f.token()
	if err != nil {
		return nil, err
	}
	if f.address == "" {
		if f.pprof {
			return nil, usagef("--pprof needs --http, such as --http 127.0.0.1:8080")
		}
		return nil, nil
	}
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", f.address)
	if err != nil {
		return nil, usagef("--http %s: %w (give an address of this machine and a free port, such as 127.0.0.1:8080)", f.address, err)
	}
	at, is := listener.Addr().(*net.TCPAddr)
	beyond := !is || !at.IP.IsLoopback()
	if beyond && f.pprof {
		_ = listener.Close()
		return nil, usagef("--pprof is for this machine only, and --http %s can be reached from others: use 127.0.0.1", f.address)
	}
	if beyond && token == "" {
		_ = listener.Close()
		return nil, usagef("--http %s can be reached from other machines and needs a token: set %s or --http-token-file, or use 127.0.0.1", f.address, tokenVariable)
	}
	if beyond && utf8.RuneCountInString(token) < minToken {
		_ = listener.Close()
		return nil, usagef("--http %s can be reached from other machines, and its token has fewer than %d characters: make a longer one (openssl rand -hex 24), or use 127.0.0.1", f.address, minToken)
	}
	return &httpServer{log: e.log, program: e.program.name(), listener: listener, token: token, pprof: f.pprof}, nil
}

// token reads the token from the file, or from the variable, without the space around it.
func (f httpFlags) token() (string, error) {
	where, text := tokenVariable, os.Getenv(tokenVariable)
	if f.tokenFile != "" {
		raw, err := os.ReadFile(f.tokenFile)
		if err != nil {
			return "", usagef("--http-token-file: %w", err)
		}
		if where, text = "--http-token-file "+f.tokenFile, string(raw); strings.TrimSpace(text) == "" {
			return "", usagef("%s is empty", where)
		}
	}
	token := strings.TrimSpace(text)
	if strings.ContainsFunc(token, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		return "", usagef("%s has spaces or line breaks in it, which no header can carry: make the token one word (openssl rand -hex 24)", where)
	}
	return token, nil
}

// ofWorker is everything that a worker serves.
func (s *httpServer) ofWorker(e *env, w *rouse.Worker, m *metrics.Metrics, d *dashboard.Dashboard) http.Handler {
	return s.routes(e.speaking(health.Handler(w)), m.Handler(), e.speakingPage(d)) // the dashboard asks for the token itself
}

// routes serves probes, metrics, profiles, and below everything else a page.
func (s *httpServer) routes(probes, metrics, page http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", probes)
	mux.Handle("GET /readyz", probes)
	mux.Handle("GET /metrics", s.guarded(metrics))
	if s.pprof {
		mux.Handle("GET /debug/pprof/", s.guarded(http.HandlerFunc(pprof.Index)))
		mux.Handle("GET /debug/pprof/profile", s.guarded(http.HandlerFunc(pprof.Profile)))
		mux.Handle("GET /debug/pprof/trace", s.guarded(http.HandlerFunc(pprof.Trace)))
	}
	mux.Handle("/", page)
	return mux
}

// guarded lets those in who know the token. If there is none, it lets in who asks for this machine by name or address, and so
// no web page from elsewhere.
func (s *httpServer) guarded(next http.Handler) http.Handler {
	if s.token == "" {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if !dashboard.IsLocal(r.Host) {
				http.Error(rw, "without a token only localhost, 127.0.0.1 and [::1] are answered", http.StatusMisdirectedRequest)
				return
			}
			next.ServeHTTP(rw, r)
		})
	}
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !dashboard.HasToken(r, s.token) {
			rw.Header().Set("WWW-Authenticate", "Bearer realm="+strconv.Quote(s.program))
			http.Error(rw, "a token is needed (Authorization: Bearer TOKEN)", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(rw, r)
	})
}

// serve serves until stop is called, which lets requests finish for up to 3 seconds. ending is called first, to end those that
// would last.
func (s *httpServer) serve(handler http.Handler, ending func()) (stop func()) {
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
	if s.pprof {
		server.WriteTimeout = 5 * time.Minute // a profile is taken for as long as is asked for
	}
	s.log.Info().Str("address", s.listener.Addr().String()).Msg("serving http")
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error().Err(err).Msg("http is served no more")
		}
	})
	return func() {
		ending()
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close()
		}
		wg.Wait()
	}
}
