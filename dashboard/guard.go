package dashboard

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse/internal/randid"
)

const (
	// sessionFor is how long a login lasts.
	sessionFor = 12 * time.Hour

	// csrfHeader carries a value that only a page of this dashboard can know.
	csrfHeader = "Rouse-CSRF"

	// maxBody is what a form or an action may send, in bytes.
	maxBody = 8 << 10

	// refusalEvery is how often refused logins are logged at most.
	refusalEvery = time.Minute
)

// contentPolicy lets the page use its own files and nothing else, and nobody put it into a frame.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; " +
	"base-uri 'none'; frame-ancestors 'none'"

// guard decides who may look and who may act.
type guard struct {
	token  string
	key    []byte // signs sessions, and changes with the token
	origin *http.CrossOriginProtection
	log    zerolog.Logger
	quiet  *refusals
	ended  *endings
}

// endings are sessions that were logged out before their time.
type endings struct {
	mu    sync.Mutex           // protects until
	until map[string]time.Time // by what is signed of the cookie: when it would have ended
}

// add notes that a session has ended, and forgets those whose time is over. Only who has a session can add one.
func (e *endings) add(signed string, expiry time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for other, until := range e.until {
		if !time.Now().Before(until) {
			delete(e.until, other)
		}
	}
	e.until[signed] = expiry
}

// has reports whether a session was logged out.
func (e *endings) has(signed string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, has := e.until[signed]
	return has
}

// refusals are logins that were refused and not logged yet.
type refusals struct {
	mu     sync.Mutex // protects the fields below
	count  int
	logged time.Time
}

func newGuard(token string, log zerolog.Logger) guard {
	return guard{token: token, key: sign([]byte(token), "rouse dashboard session"), origin: http.NewCrossOriginProtection(), log: log, quiet: &refusals{}, ended: &endings{until: map[string]time.Time{}}}
}

func sign(key []byte, parts ...string) []byte {
	mac := hmac.New(sha256.New, key)
	for _, part := range parts {
		mac.Write([]byte(part))
	}
	return mac.Sum(nil)
}

// around sets the headers of every answer and turns away what no page of this dashboard sends.
func (g guard) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		h := rw.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		// Without a token nothing but the address keeps others out.
		if g.token == "" && !IsLocal(r.Host) {
			refuse(rw, http.StatusMisdirectedRequest, "without a token only localhost, 127.0.0.1 and [::1] are answered: set a token, or use one of these")
			return
		}
		if g.origin.Check(r) != nil {
			refuse(rw, http.StatusForbidden, "this request comes from another web page")
			return
		}
		r.Body = http.MaxBytesReader(rw, r.Body, maxBody)
		next.ServeHTTP(rw, r)
	})
}

// IsLocal reports whether a Host header names this machine, with or without a port. A web page whose own name was pointed
// at this machine still sends that name.
func IsLocal(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	address, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && address.IsLoopback()
}

// refuse answers with a sentence for the page, and for people.
func refuse(rw http.ResponseWriter, status int, sentence string) {
	answer(rw, status, outcome{Error: sentence})
}

// mayLook tells whether the page may be shown.
func (g guard) mayLook(r *http.Request) bool {
	return g.token == "" || g.bearer(r) || g.session(r).valid
}

// looks lets those through who may look.
func (g guard) looks(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !g.mayLook(r) {
			refuse(rw, http.StatusUnauthorized, "a token is needed: log in, or send Authorization: Bearer TOKEN")
			return
		}
		next(rw, r)
	})
}

// acts lets those through who know the token. Where the browser adds a session by itself, a change also needs the session's
// value, which other pages cannot read.
func (g guard) acts(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		s := g.session(r)
		switch {
		case g.token == "":
			refuse(rw, http.StatusForbidden, "the page is read-only, because it was started without a token")
		case g.bearer(r):
			next(rw, r)
		case !s.valid:
			refuse(rw, http.StatusUnauthorized, "a token is needed: log in, or send Authorization: Bearer TOKEN")
		case r.Method != http.MethodGet && subtle.ConstantTimeCompare([]byte(r.Header.Get(csrfHeader)), []byte(s.csrf)) != 1:
			refuse(rw, http.StatusForbidden, "this request does not come from the page: load it again")
		default:
			next(rw, r)
		}
	})
}

// knows tells whether what was typed is the token.
func (g guard) knows(given string) bool { return same(given, g.token) }

// same compares in a time that tells nothing of the token. Without one nothing is the same.
func same(given, token string) bool {
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(token))
	return token != "" && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

func (g guard) bearer(r *http.Request) bool { return HasToken(r, g.token) }

// HasToken tells whether a request brings a token as Authorization: Bearer TOKEN. Without a token none does.
func HasToken(r *http.Request, token string) bool {
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.EqualFold(scheme, "Bearer") && same(strings.TrimSpace(given), token)
}

// session is a login, as its cookie says. Nothing of it is kept here but its end by a logout, so it also holds for other processes
// with the same token, and ends with the token.
type session struct {
	valid  bool
	expiry time.Time
	csrf   string
	signed string // what the cookie says
}

// The cookie is the expiry (Unix seconds), a random number and a signature of both.
const (
	expirySize = 8
	nonceSize  = 16
)

// cookieName differs by port, because browsers keep one set of cookies for all ports of a machine.
func cookieName(r *http.Request) string {
	_, port, _ := net.SplitHostPort(r.Host)
	return "rouse_" + port
}

func (g guard) session(r *http.Request) session {
	if g.token == "" {
		return session{}
	}
	cookie, err := r.Cookie(cookieName(r))
	if err != nil {
		return session{}
	}
	raw, err := base64.RawURLEncoding.DecodeString(cookie.Value)
	if err != nil || len(raw) != expirySize+nonceSize+sha256.Size {
		return session{}
	}
	signed, signature := string(raw[:expirySize+nonceSize]), raw[expirySize+nonceSize:]
	expiry := time.Unix(int64(binary.BigEndian.Uint64(raw)), 0)
	if !hmac.Equal(signature, sign(g.key, "cookie", signed)) || !time.Now().Before(expiry) || g.ended.has(signed) {
		return session{}
	}
	return session{valid: true, expiry: expiry, signed: signed, csrf: base64.RawURLEncoding.EncodeToString(sign(g.key, "csrf", signed))}
}

// newCookie makes a session.
func (g guard) newCookie(r *http.Request) *http.Cookie {
	return g.cookie(r, time.Now().Add(sessionFor))
}

// cookie makes a session that ends then.
func (g guard) cookie(r *http.Request, expiry time.Time) *http.Cookie {
	raw := binary.BigEndian.AppendUint64(nil, uint64(expiry.Unix()))
	raw = append(raw, randid.Bytes(nonceSize)...)
	value := base64.RawURLEncoding.EncodeToString(append(raw, sign(g.key, "cookie", string(raw))...))
	return &http.Cookie{
		Name: cookieName(r), Value: value, MaxAge: int(sessionFor.Seconds()), HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https"),
	}
}

// login takes the form.
func (g guard) login(rw http.ResponseWriter, r *http.Request) {
	if !g.knows(r.PostFormValue("token")) {
		g.refused(r)
		form(rw, "That is not the token.")
		return
	}
	http.SetCookie(rw, g.newCookie(r))
	back(rw)
}

// formSays is where the form has room for a sentence.
const formSays = "<!-- says -->"

// form sends the form that asks for the token.
func form(rw http.ResponseWriter, says string) {
	file(rw, http.StatusUnauthorized, "login.html", formSays, says)
}

// logout ends the session, for whoever has a copy of its cookie too, and makes the browser forget it.
func (g guard) logout(rw http.ResponseWriter, r *http.Request) {
	if s := g.session(r); s.valid {
		g.ended.add(s.signed, s.expiry)
	}
	http.SetCookie(rw, &http.Cookie{Name: cookieName(r), MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	back(rw)
}

// back leads to the page, which may stand below a path that is not known here.
func back(rw http.ResponseWriter) {
	rw.Header().Set("Location", "./")
	rw.WriteHeader(http.StatusSeeOther)
}

// refused logs a login that was refused, and those that were not logged before it.
func (g guard) refused(r *http.Request) {
	g.quiet.mu.Lock()
	defer g.quiet.mu.Unlock()
	g.quiet.count++
	if time.Since(g.quiet.logged) < refusalEvery {
		return
	}
	g.log.Warn().Str("from", r.RemoteAddr).Int("logins", g.quiet.count).Msg("a login to the dashboard was refused")
	g.quiet.count, g.quiet.logged = 0, time.Now()
}
