package browser_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
	"github.com/rouse-es/rouse/test/checkout"
)

const (
	// browserEnv set to "required" makes a missing browser an error.
	browserEnv = "ROUSE_TEST_BROWSER"

	// screenshotsEnv set makes the tests write the pictures of the page in docs/img.
	screenshotsEnv = "ROUSE_SCREENSHOTS"
)

// tab is a page in a real browser.
type tab struct {
	t    *testing.T
	ctx  context.Context
	base string
}

// browse opens a browser on an address, and ends it with the test.
func browse(t *testing.T, base string) *tab {
	t.Helper()
	var program string
	for _, name := range []string{"chromium", "google-chrome", "chromium-browser", "chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			program = found
			break
		}
	}
	if program == "" {
		if os.Getenv(browserEnv) == "required" {
			require.FailNow(t, "there is no browser, and "+browserEnv+" says that there must be")
		}
		t.Skip("there is no browser here, so nothing is said of the page: install the package chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	allocator, end := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(end)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // which waits for the browser
		cancel()
	})
	b := &tab{t: t, ctx: ctx, base: base}
	b.size(1200, 900, "light")
	b.do(chromedp.Navigate(base + "/"))
	return b
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, steps...))
}

// size sets the width and height of the window, and whether it is light or dark.
func (b *tab) size(width, height int64, scheme string) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, height), func(ctx context.Context, t *chromedp.Target) (v chromedp.Void, err error) {
		_, err = cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}},
		})
		return v, err
	})
}

// js is the value of an expression on the page.
func js[T any](b *tab, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	require.NoError(b.t, err, expression)
	return v
}

// until waits until an expression is true on the page.
func (b *tab) until(what, expression string) {
	b.t.Helper()
	testdb.Eventually(b.t, processTimeout, what, func() (bool, error) {
		ok, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](expression))
		if err != nil || ok {
			return ok, err
		}
		return false, nil
	})
}

// shows waits until an element has a text that holds all of these.
func (b *tab) shows(selector string, texts ...string) {
	b.t.Helper()
	conditions := []string{}
	for _, text := range texts {
		conditions = append(conditions, fmt.Sprintf("[...document.querySelectorAll(%q)].some((e) => e.checkVisibility() && e.textContent.includes(%q))", selector, text))
	}
	b.until(selector+" to show "+strings.Join(texts, ", "), strings.Join(conditions, " && "))
}

// picture keeps the page as docs/img/NAME.png, if screenshotsEnv asks for that.
func (b *tab) picture(name string) {
	b.t.Helper()
	if os.Getenv(screenshotsEnv) == "" {
		return
	}
	js[bool](b, `document.querySelector("#database").textContent = "shop", true`) // that of a test says nothing
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	require.NoError(b.t, err)
	require.NoError(b.t, os.WriteFile(filepath.Join(checkout.Root(b.t), "docs", "img", name+".png"), png, 0o644))
}

// fits checks that nothing is wider than the window.
func (b *tab) fits() {
	b.t.Helper()
	assert.Zero(b.t, js[int](b, "document.documentElement.scrollWidth - window.innerWidth"), "the page is wider than the window")
}

const dashboardToken = "a-token-for-this-test"

// TestDashboardThroughAWholeDemo in a real browser: the empty page says what to do, shares change as workers join, one that is
// killed disappears, a projection is paused and resumed, and a parked event is shown, retried and gone, by clicks.
func TestDashboardThroughAWholeDemo(t *testing.T) {
	t.Parallel()
	rouse := newProgram(t)
	served := rouse.start(t, []string{tokenVariable + "=" + dashboardToken}, "dashboard", "--http", "127.0.0.1:0")
	b := browse(t, served.Address(t))

	// The login.
	b.do(chromedp.SendKeys("#token", "wrong\r"))
	b.shows("#says", "That is not the token")
	b.do(chromedp.SendKeys("#token", dashboardToken+"\r"))

	// Nothing is there.
	b.until("the page", `!!document.querySelector("#projections")`)
	js[bool](b, `window.faults = [], ["error", "unhandledrejection", "securitypolicyviolation"].forEach((n) => addEventListener(n, (e) => faults.push(n + ": " + (e.message ?? e.reason ?? e.violatedDirective)))), true`)
	b.shows(".empty", "rouse worker", "rouse append", "Nothing is parked", "No worker runs")

	// Workers join.
	worker := func(label string) *workertest.Program {
		return rouse.start(t, nil, "worker", "--worker-id", label, "--retries", "1", "--lease-ttl", "1s")
	}
	first := worker("demo-1")
	b.shows(".legend", "demo-1: 32 of 32 (100 %)")
	rouse.must(t, "append", "--count", "200")
	worker("demo-2")
	b.shows(".legend", "demo-1: 16 of 32 (50 %)", "demo-2: 16 of 32 (50 %)")
	worker("demo-3")
	b.shows(".legend", "demo-1: 11 of 32 (34 %)", "demo-3: 10 of 32 (31 %)")
	assert.Equal(t, 32, js[int](b, "document.querySelectorAll('.cell').length"))
	rouse.versions(t, "<b>x</b>", 1, 1)
	b.shows("#events td", "user/<b>x</b>") // as text
	b.shows("#lag-age", "all caught up")
	stop := rouse.appending(t)
	b.until("latencies", `[...document.querySelectorAll(".latency dd")].every((e) => e.textContent.endsWith("s"))`)

	// One is killed.
	first.Signal(t, syscall.SIGKILL)
	b.until("the killed worker to disappear", `!document.querySelector("#workers").textContent.includes("demo-1") && !document.querySelector(".legend").textContent.includes("demo-1")`)
	b.shows("#gone", "demo-1")
	b.shows(".legend", "demo-2: 16 of 32 (50 %)")

	// An event is parked.
	rouse.exec(t, "alter table scaling_activity add constraint nobody_bad check (aggregate_id <> 'bad')")
	rouse.versions(t, "bad", 1, 2)
	b.shows("#parked td", "nobody_bad", "and 1 behind it")
	b.shows("#attention", "2 events of scalable_projection are parked")
	if os.Getenv(screenshotsEnv) != "" {
		b.until("something to see", `Number(document.querySelector(".note").textContent.match(/(\d+) sample/)?.[1]) > 200`)
	}
	b.fits()
	b.picture("dashboard")
	b.size(390, 844, "dark")
	b.fits()
	b.picture("dashboard-phone")
	b.size(1200, 900, "light")
	b.do(chromedp.Click("#parked tbody tr:first-child button[aria-label^=Payload]"))
	b.shows("#content-payload", "s3cret")
	b.do(chromedp.Click("#content-close"))
	rouse.exec(t, "alter table scaling_activity drop constraint nobody_bad")
	b.do(chromedp.Click("#parked tbody tr:first-child button[aria-label^=Retry]"))
	b.shows("#said", "2 events will be handled again")
	b.shows(".empty", "Nothing is parked")
	assert.Equal(t, 2, rouse.handled(t, "bad"))

	// It is paused and resumed, from the keyboard.
	b.do(chromedp.Focus(".projection .top button"), chromedp.KeyEvent("\r"))
	b.shows("#ask-text", "nothing is lost")
	b.do(chromedp.Focus("#ask-yes"), chromedp.KeyEvent("\r"))
	b.shows("#attention", "scalable_projection is paused")
	assert.Equal(t, "paused", value[string](t, rouse.db.Pool, "select state from projections"))
	assert.Equal(t, "Resume", js[string](b, "document.activeElement.textContent"), "the focus is where it was")
	b.do(chromedp.KeyEvent("\r"))
	b.until("it to go on", `document.querySelector("#attention").hidden`)
	stop()
	assert.Empty(t, js[[]string](b, "faults"))

	// It stops in order although a browser looks.
	served.Signal(t, syscall.SIGTERM)
	assert.Zero(t, served.Wait(t))
	b.shows("#connection", "not connected")
}

// appending appends events in the background until stop is called.
func (p program) appending(t *testing.T) (stop func()) {
	t.Helper()
	r := p.start(t, nil, "append", "--count", "100000", "--rate", "40")
	return func() {
		r.Signal(t, syscall.SIGTERM)
		r.Wait(t)
	}
}
