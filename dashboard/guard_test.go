package dashboard_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/dashboard"
)

// changes are all requests that change something, with bodies that would do.
var changes = map[string]string{
	"/pause": `{"projection":"p"}`, "/resume": `{"projection":"p"}`, "/retry": `{"projection":"p"}`, "/discard": `{"projection":"p","position":1}`,
}

func TestWithoutATokenItOnlyShowsAndOnlyOnThisMachine(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	for _, name := range []string{"localhost", "localhost:8080", "127.0.0.1", "127.0.0.2:8080", "[::1]", "[::1]:8080"} {
		assert.Equal(t, 200, b.status("GET", "/", "", host(name)), name)
	}
	for _, name := range []string{"evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "192.0.2.1", "[::2]", "0.0.0.0", "8080"} {
		for _, path := range []string{"/", "/events", "/app.js", "/login"} {
			assert.Equal(t, http.StatusMisdirectedRequest, b.status("GET", path, "", host(name)), name)
		}
	}
	for path, body := range changes {
		assert.Equal(t, http.StatusForbidden, b.status("POST", path, body), path)
		assert.Equal(t, http.StatusForbidden, b.status("POST", path, body, bearer("")), path)
	}
	assert.Equal(t, http.StatusForbidden, b.status("GET", "/payload?position=1", ""))
	assert.Equal(t, http.StatusUnauthorized, b.status("POST", "/login", "token="), "an empty token is nobody's")
	w := b.watch()
	assert.False(t, w.Hello.MayAct)
	assert.Empty(t, w.Hello.CSRF)
}

func TestWithATokenNothingIsShownToOthers(t *testing.T) {
	t.Parallel()
	b := setup(t, token)
	good := b.login()
	here := b.request("GET", "/", "")
	other := dashboard.New(dashboard.Config{Pool: b.db.Pool, Token: "another"})
	changed := *good
	changed.Value = "B" + good.Value[1:]
	expiryAlone := *good
	expiryAlone.Value = good.Value[:32]
	refused := map[string]func(r *http.Request){
		"nothing":              func(*http.Request) {},
		"a wrong token":        bearer("wrong"),
		"an empty token":       bearer(""),
		"another scheme":       header("Authorization", "Basic "+token),
		"a changed cookie":     cookie(&changed),
		"a cut cookie":         cookie(&expiryAlone),
		"another dashboard's":  cookie(dashboard.SessionOf(other, here)),
		"the token as cookie":  cookie(&http.Cookie{Name: good.Name, Value: token}),
		"a cookie that is old": cookie(dashboard.OldSession(b.d, here)),
	}
	for name, change := range refused {
		resp, body := b.answer("GET", "/", "", change)
		assert.Equal(t, http.StatusUnauthorized, resp.StatusCode, name)
		assert.Contains(t, body, `name="token"`, name)
		assert.Equal(t, http.StatusUnauthorized, b.status("GET", "/events", "", change), name)
		assert.Equal(t, http.StatusUnauthorized, b.status("GET", "/payload?position=1", "", change), name)
		for path, body := range changes {
			assert.Equal(t, http.StatusUnauthorized, b.status("POST", path, body, change), "%s %s", name, path)
		}
	}
	assert.Equal(t, 200, b.status("GET", "/", "", cookie(good)))
	assert.Equal(t, 200, b.status("GET", "/", "", bearer(token)))
	assert.Equal(t, 200, b.status("GET", "/", "", bearer(token), host("dashboard.example")), "with a token it may have a name")
}

func TestLoginSetsACookieThatScriptsAndOtherSitesDoNotGet(t *testing.T) {
	t.Parallel()
	b := setup(t, token)
	c := b.login()
	assert.True(t, c.HttpOnly)
	assert.Equal(t, http.SameSiteStrictMode, c.SameSite)
	assert.False(t, c.Secure, "over plain HTTP a browser would not send it back")
	assert.Positive(t, c.MaxAge)
	assert.True(t, b.login(header("X-Forwarded-Proto", "https")).Secure)
	assert.NotEqual(t, c.Value, b.login().Value)

	form := header("Content-Type", "application/x-www-form-urlencoded")
	resp, body := b.answer("POST", "/login", url.Values{"token": {"wrong"}}.Encode(), form)
	assert.Equal(t, http.StatusUnauthorized, resp.StatusCode)
	assert.Empty(t, resp.Cookies())
	assert.Contains(t, body, "That is not the token.")
	assert.Equal(t, http.StatusForbidden, b.status("POST", "/login", "token="+token, form, header("Sec-Fetch-Site", "cross-site")))
	resp, _ = b.answer("POST", "/logout", "", cookie(c))
	require.Len(t, resp.Cookies(), 1)
	assert.Negative(t, resp.Cookies()[0].MaxAge)
}

// TestALogoutEndsACopyOfTheCookieToo, and no other session.
func TestALogoutEndsACopyOfTheCookieToo(t *testing.T) {
	t.Parallel()
	b := setup(t, token)
	mine, other := cookie(b.login()), cookie(b.login())
	assert.Equal(t, http.StatusOK, b.status("GET", "/", "", mine))
	b.answer("POST", "/logout", "", mine)
	assert.Equal(t, http.StatusUnauthorized, b.status("GET", "/", "", mine))
	assert.Equal(t, http.StatusOK, b.status("GET", "/", "", other))
	b.answer("POST", "/logout", "", mine) // once more
	assert.Equal(t, http.StatusOK, b.status("GET", "/", "", cookie(b.login())))
}

func TestActionsAreRefusedToOtherPages(t *testing.T) {
	t.Parallel()
	b := setup(t, token)
	mustExec(t, b, "insert into projections (projection_name, partitions) values ('p', 1)")
	c := cookie(b.login())
	w := b.watch(c)
	require.NotEmpty(t, w.Hello.CSRF)
	csrf, of := header("Rouse-CSRF", w.Hello.CSRF), b.watch(cookie(b.login())).Hello.CSRF
	refused := map[string][]func(r *http.Request){
		"without the value":       {c},
		"with an empty value":     {c, header("Rouse-CSRF", "")},
		"another session's value": {c, header("Rouse-CSRF", of)},
		"another site":            {c, csrf, header("Sec-Fetch-Site", "cross-site")},
		"another port":            {c, csrf, header("Sec-Fetch-Site", "same-site")},
		"an old browser":          {c, csrf, header("Origin", "http://evil.example")},
		"a token from a page":     {bearer(token), header("Sec-Fetch-Site", "cross-site")},
	}
	for name, change := range refused {
		for path, body := range changes {
			assert.Equal(t, http.StatusForbidden, b.status("POST", path, body, change...), "%s %s", name, path)
		}
	}
	assert.Equal(t, "running", value[string](t, b, "select state from projections"))
	assert.Equal(t, 200, b.status("POST", "/pause", changes["/pause"], c, csrf, header("Sec-Fetch-Site", "same-origin")))
	assert.Equal(t, "paused", value[string](t, b, "select state from projections"))
	assert.Equal(t, 200, b.status("POST", "/resume", changes["/resume"], bearer(token)), "a program needs the token alone")
	for path := range changes {
		assert.Equal(t, http.StatusMethodNotAllowed, b.status("GET", path, "", bearer(token)), path)
	}
}

func TestEveryAnswerHasTheHeaders(t *testing.T) {
	t.Parallel()
	b := setup(t, token)
	for _, path := range []string{"/", "/app.js", "/style.css", "/icon.svg", "/events", "/nowhere"} {
		resp, _ := b.answer("GET", path, "")
		h := resp.Header
		policy := h.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
			assert.Contains(t, policy, part, path)
		}
		assert.NotContains(t, policy, "unsafe", path)
		assert.Equal(t, "nosniff", h.Get("X-Content-Type-Options"), path)
		assert.Equal(t, "DENY", h.Get("X-Frame-Options"), path)
		assert.Equal(t, "same-origin", h.Get("Cross-Origin-Resource-Policy"), path+": no page of another site may read it")
		assert.Equal(t, "no-referrer", h.Get("Referrer-Policy"), path)
		assert.Equal(t, "no-store", h.Get("Cache-Control"), path)
	}
}

// TestThePageNeedsNothingFromElsewhere, and nothing that the policy forbids.
func TestThePageNeedsNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	for _, path := range []string{"/", "/app.js", "/style.css"} {
		_, body := b.answer("GET", path, "")
		assert.NotRegexp(t, `(?:src|href|action)="(?:https?:|//)|@import|url\(|<style|style="|<script>| on[a-z]+="|innerHTML|setAttribute\("style`, body, path)
	}
}
