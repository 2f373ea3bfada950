package dashboard_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/dashboard"
	"github.com/rouse-es/rouse/internal/testdb"
)

func TestMain(m *testing.M) { testdb.Main(m) }

const (
	token    = "0f3c-a-token"
	patience = time.Minute
)

// bundle is a dashboard that is served, on a database of its own.
type bundle struct {
	t      *testing.T
	db     *testdb.DB
	d      *dashboard.Dashboard
	server *httptest.Server
}

func setup(t *testing.T, token string) *bundle {
	t.Helper()
	db := testdb.New(t)
	b := &bundle{t: t, db: db, d: dashboard.New(dashboard.Config{Pool: db.Pool, Token: token})}
	b.server = httptest.NewServer(b.d)
	t.Cleanup(b.server.Close)
	t.Cleanup(b.d.Close)
	return b
}

// request is one to send; change may alter it.
func (b *bundle) request(method, path, body string, change ...func(r *http.Request)) *http.Request {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.server.URL+path, strings.NewReader(body))
	require.NoError(b.t, err)
	for _, f := range change {
		f(r)
	}
	return r
}

// answer sends a request and returns the answer with its body.
func (b *bundle) answer(method, path, body string, change ...func(r *http.Request)) (*http.Response, string) {
	b.t.Helper()
	client := &http.Client{Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	resp, err := client.Do(b.request(method, path, body, change...))
	require.NoError(b.t, err)
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	require.NoError(b.t, err)
	return resp, string(text)
}

// status is the status of the answer.
func (b *bundle) status(method, path, body string, change ...func(r *http.Request)) int {
	b.t.Helper()
	resp, _ := b.answer(method, path, body, change...)
	return resp.StatusCode
}

func header(name, value string) func(r *http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func host(name string) func(r *http.Request) { return func(r *http.Request) { r.Host = name } }

func bearer(token string) func(r *http.Request) { return header("Authorization", "Bearer "+token) }

func cookie(c *http.Cookie) func(r *http.Request) {
	return func(r *http.Request) { r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value}) }
}

// login logs in and returns the cookie, as it was set.
func (b *bundle) login(change ...func(r *http.Request)) *http.Cookie {
	b.t.Helper()
	resp, _ := b.answer("POST", "/login", url.Values{"token": {token}}.Encode(), append(change, header("Content-Type", "application/x-www-form-urlencoded"))...)
	require.Equal(b.t, http.StatusSeeOther, resp.StatusCode)
	require.Equal(b.t, "./", resp.Header.Get("Location"), "it may stand below a path")
	require.Len(b.t, resp.Cookies(), 1)
	return resp.Cookies()[0]
}

// snapshot has some of what the page is sent.
type snapshot struct {
	Error       string
	Database    string
	Head        int64
	Projections []struct {
		Name, State string
		Lag, Parked int64
		Latency     *struct{ P50, P99 float64 }
		Partitions  []struct{ O int }
	}
	Workers []struct {
		Label              string
		Number, Partitions int
	}
	Gone   []struct{ Label string }
	Parked []struct{ Position int64 }
	Events []struct{ Position int64 }
}

// watching is an open stream.
type watching struct {
	t     *testing.T
	lines *bufio.Reader
	end   func() // ends it and waits for its connection
	Hello struct {
		MayAct  bool `json:"may_act"`
		CSRF    string
		History map[string][][2]int64
	}
}

// watch opens a stream and reads its greeting.
func (b *bundle) watch(change ...func(r *http.Request)) *watching {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	client := &http.Client{Transport: &http.Transport{}}
	resp, err := client.Do(b.request("GET", "/events", "", change...).WithContext(ctx))
	require.NoError(b.t, err)
	require.Equal(b.t, 200, resp.StatusCode)
	w := &watching{t: b.t, lines: bufio.NewReader(resp.Body)}
	w.end = func() {
		cancel()
		_ = resp.Body.Close()
		client.CloseIdleConnections()
	}
	b.t.Cleanup(w.end)
	name, data, err := w.read()
	require.NoError(b.t, err)
	require.Equal(b.t, "hello", name)
	require.NoError(b.t, json.Unmarshal([]byte(data), &w.Hello))
	return w
}

// read reads the next event of the stream.
func (w *watching) read() (name, data string, err error) {
	for {
		line, err := w.lines.ReadString('\n')
		if err != nil {
			return "", "", err
		}
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			return name, data, nil
		}
		if text, is := strings.CutPrefix(line, "event: "); is {
			name = text
		}
		if text, is := strings.CutPrefix(line, "data: "); is {
			data = text
		}
	}
}

// next is the next snapshot.
func (w *watching) next() (s snapshot) {
	w.t.Helper()
	name, data, err := w.read()
	require.NoError(w.t, err)
	require.Equal(w.t, "snapshot", name)
	require.NoError(w.t, json.Unmarshal([]byte(data), &s))
	return s
}
