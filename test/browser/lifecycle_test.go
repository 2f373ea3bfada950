package browser_test

import (
	"fmt"
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// inAllConditions makes projections in each condition that one may have, with two workers that live as long as the test: no partition
// changes hands and nothing is handled, so a picture of it stands still.
func (p program) inAllConditions(t *testing.T) {
	t.Helper()
	for _, name := range []string{"drafts", "mailing"} {
		p.must(t, "projection", "create", name, "--from", "beginning", "--partitions", "8")
	}
	p.must(t, "projection", "drop", "drafts")
	p.must(t, "projection", "rename", "mailing", "mails")
	for _, name := range []string{"bills", "invoices", "orders", "shop"} {
		p.must(t, "projection", "create", name, "--from", "beginning", "--partitions", "8")
	}
	p.must(t, "projection", "pause", "mails")
	p.exec(t, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 'order', 'order-' || n % 100, n / 100 + 1, 'OrderPlaced', '{}' from generate_series(0, 9999) n`)
	p.exec(t, `update projections set version = 2 where projection_name = 'orders'`)
	p.exec(t, `insert into projections (projection_name, partitions, version, shadow_of, shadow_from, shadow_ready_at, shadow_swap) values
		('orders@1', 8, 1, 'orders', 0, now(), false), ('shop@rebuild', 8, 1, 'shop', 0, now() - interval '1 minute', true)`)
	p.exec(t, `insert into projection_checkpoints (projection_name, partition)
		select projection_name, n from projections, generate_series(0, 7) n where shadow_of is not null`)
	p.exec(t, `update projections set state = 'stopped', stopped_at = now(), error_at = now(), error_position = 8124,
		last_error = 'bills: the event at position 8124: a bill without an address' where projection_name = 'bills'`)
	p.exec(t, `update projection_checkpoints set last_global_position =
		case projection_name when 'bills' then 8123 when 'invoices' then 7500 when 'mails' then 9000 when 'shop@rebuild' then 4200 else 10000 end`)
	p.exec(t, `insert into projection_workers (instance_id, label, assignment, host, pid, mode, lease_ttl_ms, states) values
		('00000000-0000-4000-8000-000000000001', 'worker-1', 'elastic', 'host-1', 101, 'quiet', 7200000,
			'{"drafts": "stopped", "bills": "stopped", "mails": "paused", "orders": "live", "shop": "live", "shop@rebuild": "catching-up"}'),
		('00000000-0000-4000-8000-000000000002', 'worker-of-version-1', 'elastic', 'host-2', 102, 'quiet', 7200000, '{"orders@1": "live"}')`)
	p.exec(t, `update projection_checkpoints c set owner = w.instance_id from projection_workers w
		where w.states ? c.projection_name and c.projection_name <> 'bills'`)
}

// TestEachConditionOfAProjectionIsToldInWords, so that nobody has to tell colours apart; and only where a worker is missing the page
// asks for one.
func TestEachConditionOfAProjectionIsToldInWords(t *testing.T) {
	t.Parallel()
	rouse := newProgram(t)
	rouse.inAllConditions(t)
	b := browse(t, rouse.start(t, nil, "dashboard", "--http", "127.0.0.1:0").Address(t))
	b.until("seven projections", `document.querySelectorAll(".projection").length === 7`)

	// Its state, and what stands beside it. The rate, what is left and ages are those of this look.
	told := map[string]string{}
	for name, want := range map[string]string{
		"bills":        `stopped \| 1,877 positions behind, the first event waits for .+|stopped \| less than 1 s behind`,
		"invoices":     `no worker \| 2,500 positions behind, the first event waits for .+|no worker \| less than 1 s behind`,
		"mails":        `paused \| 1,000 positions behind, the first event waits for .+|paused \| less than 1 s behind`,
		"orders":       `running \| caught up`,
		"orders@1":     `running \| built beside orders, 100 %, caught up`,
		"shop":         `running \| caught up`,
		"shop@rebuild": `running \| built beside shop, 42 %, [\d,]+ events/s, .+ left, (5,800 positions behind, the first event waits for .+|less than 1 s behind)`,
	} {
		told[name] = b.told(name)
		assert.Regexp(t, "^("+want+")$", told[name], name)
	}
	kinds := map[string]bool{}
	for _, name := range []string{"bills", "invoices", "mails", "orders", "orders@1", "shop@rebuild"} {
		kinds[regexp.MustCompile(`\d+`).ReplaceAllString(told[name], "")] = true
	}
	assert.Len(t, kinds, 6, "two conditions have one text: %v", told)
	b.shows(".why", "a bill without an address")
	assert.Regexp(t, `^Retired: drafts \(dropped .+ ago\), mailing \(called mails since .+\)\.$`, js[string](b, `document.querySelector("#retired").textContent`))

	// What a person has to do.
	b.shows("#attention li", "bills is stopped by the event at position 8,124. Mend the cause below", "mails is paused",
		"worker-1 has drafts in its program, which was dropped")
	assert.Equal(t, []string{"invoices"}, b.askForAWorker())
	b.fits()
	if os.Getenv(screenshotsEnv) != "" { // without what is not about this
		js[bool](b, `document.querySelectorAll(".figures, section:not(#attention, [aria-labelledby=projections-title]), .projection .body").forEach((e) => e.style.display = "none"), true`)
		b.size(1200, 500, "light")
		b.fits()
	}
	b.picture("dashboard-conditions")
	b.size(390, 844, "dark")
	b.fits()

	// What keeps a rebuild from its end is told, and a version that is kept needs no worker.
	rouse.exec(t, "update projections set shadow_error = 'the view revenue is in the way' where projection_name = 'shop@rebuild'")
	b.shows("#attention li", "shop@rebuild cannot take the place of shop: the view revenue is in the way")
	rouse.exec(t, "delete from projection_workers where label = 'worker-of-version-1'")
	b.shows("#attention li", "orders@1 stands beside orders, and no worker runs it")
	assert.Regexp(t, `^no worker \| built beside orders, 100 %, `, b.told("orders@1"))
	assert.Equal(t, []string{"invoices"}, b.askForAWorker())
}

// told is the state of a projection and what stands beside it, as people read it.
func (b *tab) told(name string) string {
	b.t.Helper()
	return js[string](b, fmt.Sprintf(`(() => {
		const e = [...document.querySelectorAll(".projection")].find((e) => e.querySelector("h3").textContent === %q);
		return e ? e.querySelector(".state").textContent + " | " + e.querySelector(".lag").textContent : "";
	})()`, name))
}

// askForAWorker are the projections of which the page says that a worker has to be started that runs them.
func (b *tab) askForAWorker() []string {
	b.t.Helper()
	names := js[[]string](b, `[...document.querySelectorAll("#attention li")].map((e) => e.textContent)
		.filter((text) => /start (one|a worker|more)/.test(text)).map((text) => text.split(" ")[0])`)
	require.NotNil(b.t, names)
	return names
}
