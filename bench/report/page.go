package report

import (
	_ "embed"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rouse-es/rouse/bench/compare"
	"github.com/rouse-es/rouse/internal/bench"
)

// limits says why what was not reached was not.
//
//go:embed limits.md
var limits string

// Write reads the results in a folder, and writes performance.md into docs and its pictures into docs/img.
func Write(resultsDir, docs string) error {
	r, err := load(resultsDir)
	if err != nil {
		return err
	}
	p := &page{images: map[string]string{}}
	p.write(r)
	if err := os.MkdirAll(filepath.Join(docs, "img"), 0o755); err != nil {
		return err
	}
	for name, svg := range p.images {
		if err := os.WriteFile(filepath.Join(docs, "img", name), []byte(svg), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(docs, "performance.md"), []byte(p.text.String()), 0o644)
}

// page is what is written.
type page struct {
	text   strings.Builder
	images map[string]string // by file name
}

func (p *page) say(format string, args ...any) { fmt.Fprintf(&p.text, format, args...) }

// table is a row of heads, and rows of the same length.
func (p *page) table(heads []string, rows [][]string) {
	p.say("| %s |\n|%s\n", strings.Join(heads, " | "), strings.Repeat("---|", len(heads)))
	for _, row := range rows {
		p.say("| %s |\n", strings.Join(row, " | "))
	}
	p.say("\n")
}

// picture adds one.
func (p *page) picture(name string, c chart) {
	p.images[name] = c.svg()
	p.say("![%s](img/%s)\n\n", c.title, name)
}

func (p *page) write(r results) {
	p.say("# Performance\n\n")
	p.say("This page is written by `make bench-report` from the results in [bench/results](../bench/results), which `make bench` or its parts\n" +
		"measure. Read the ratios: what is compared took turns in one run on one machine, and medians are shown, of ratios the medians of\n" +
		"the rounds' ratios. The absolute numbers are this machine's, and its disk's.\n\n")
	p.machine(r)
	p.say("## Goals\n\n| what | goal | measured | |\n|---|---|---|---|\n")
	for _, g := range r.goals() {
		p.say("%s", g.row())
	}
	p.say("\n")
	if len(r.servers()) > 0 {
		p.say("%s", strings.ReplaceAll(limits, "](../../docs/", "](")) // the page is in docs
	}
	p.latency(r)
	p.ladder(r)
	p.cost(r)
	p.appends(r)
	p.plainTable(r)
	p.catchup(r)
	p.partitions(r)
	p.payloads(r)
	p.scale(r)
	p.wait(r)
	p.projections(r)
	p.idle(r)
	p.crowd(r)
	p.tenants(r)
	p.compare(r)
}

func (p *page) machine(r results) {
	for _, s := range r.servers() {
		p.say("%s\n\n", measured(s))
	}
}

// measured says on what something was measured.
func measured(s bench.Server) string {
	m := s.Machine
	kernel := ""
	if m.Kernel != "" {
		kernel = ", kernel " + m.Kernel
	}
	return fmt.Sprintf("Measured on %s: %s, %d cores, %.0f GiB of memory, %s%s; %s, %s; fsync %s, synchronous_commit %s, shared_buffers %s, max_wal_size %s,"+
		" else PostgreSQL's defaults. Server, writers and workers share the machine.", m.Day.Format("2 January 2006"), m.CPU, m.Cores, m.Memory, m.OS, kernel,
		s.Version, m.Go, s.Settings["fsync"], s.Settings["synchronous_commit"], s.Settings["shared_buffers"], s.Settings["max_wal_size"])
}

// missing says that a part was not run, and with what it is.
func (p *page) missing(target string) { p.say("Not measured yet: `make %s`.\n\n", target) }

func (p *page) latency(r results) {
	p.say("## Latency\n\nFrom the acknowledged commit of an append to the acknowledged commit of its effect, one worker with a read model that counts. The\n" +
		"floor is a loop written by hand on two connections, NOTIFY + SELECT + COMMIT, without any of the promises; its table is read by an index\n" +
		"whose statistics are there.\n\n")
	var steps []bench.LatencyStep
	var rows [][]string
	for _, l := range []*bench.LatencyResult{r.quiet, r.busy} {
		if l == nil {
			continue
		}
		for _, s := range l.Steps {
			steps = append(steps, s)
			rows = append(rows, append([]string{grouped(s.Rate), strconv.Itoa(l.Writers)}, latencyCells(s)...))
		}
	}
	if len(steps) == 0 && r.rows == nil && r.held == nil && r.carried == nil {
		p.missing("bench-latency")
		return
	}
	heads := []string{"Rouse p50", "p90", "p99", "floor p50", "p90", "p99", "ratio p50", "p99", "lost by the floor"}
	if len(steps) > 0 {
		p.say("By append rate, ms. From one writer each event is waited for, so that workers sleep in between; 16 writers append on schedule, whether\n" +
			"events are handled or not.\n\n")
		p.table(append([]string{"appends/s", "writers"}, heads...), rows)
		p.picture("bench-latency.svg", latencyChart("Latency by append rate", "appends per second", steps, func(s bench.LatencyStep) string { return grouped(s.Rate) }))
	}
	if r.busy != nil {
		p.writersRates(r.busy)
	}
	p.latencyRows(r.rows, heads)
	p.latencyHeld(r.held, heads)
	p.latencyCarried(r.carried, heads)
}

func (p *page) latencyRows(l *bench.LatencyResult, heads []string) {
	if l == nil {
		return
	}
	var rows [][]string
	for _, s := range l.Steps {
		rows = append(rows, append([]string{grouped(float64(s.TableRows)), grouped(s.Rate)}, latencyCells(s)...))
	}
	p.say("By the number of events that are in the log before, ms:\n\n")
	p.table(append([]string{"events", "appends/s"}, heads...), rows)
	p.picture("bench-latency-rows.svg", latencyChart("Latency by the size of the log", "events in the log", l.Steps,
		func(s bench.LatencyStep) string { return grouped(float64(s.TableRows)) }))
}

func (p *page) latencyHeld(l *bench.LatencyResult, heads []string) {
	if l == nil {
		return
	}
	var rows [][]string
	for _, s := range l.Steps {
		held := "no"
		if s.Held {
			held = "yes"
		}
		rows = append(rows, append([]string{held, grouped(s.Rate)}, latencyCells(s)...))
	}
	p.say("Beside a transaction of somebody else that has written and stays open, %.0f s, ms:\n\n", float64(l.Steps[0].Events)/l.Steps[0].Rate)
	p.table(append([]string{"open", "appends/s"}, heads...), rows)
}

func (p *page) latencyCarried(l *bench.LatencyResult, heads []string) {
	if l == nil {
		return
	}
	var rows [][]string
	for _, s := range l.Steps {
		carried := "no"
		if s.Carried {
			carried = "yes"
		}
		rows = append(rows, append([]string{carried, grouped(s.Rate)}, latencyCells(s)...))
	}
	p.say("Where the push carries the events (`rouse migrate --carry on`) and where it does not, ms:\n\n")
	p.table(append([]string{"carried", "appends/s"}, heads...), rows)
}

func latencyCells(s bench.LatencyStep) []string {
	return []string{
		ms(s.Rouse.P50), ms(s.Rouse.P90), ms(s.Rouse.P99), ms(s.Floor.P50), ms(s.Floor.P90), ms(s.Floor.P99),
		ratio(s.Ratio.P50), ratio(s.Ratio.P99), fmt.Sprintf("%s of %s", grouped(float64(int64(s.Events)-s.FloorHandled)), grouped(float64(s.Events))),
	}
}

func latencyChart(title, x string, steps []bench.LatencyStep, label func(bench.LatencyStep) string) chart {
	c := chart{title: title, x: x, y: "ms, commit to commit", log: true}
	of := func(value func(bench.LatencyStep) float64) (vs []float64) {
		for _, s := range steps {
			vs = append(vs, value(s))
		}
		return vs
	}
	for _, s := range steps {
		c.labels = append(c.labels, label(s))
	}
	c.series = []series{
		{name: "Rouse p50", color: "rouse", values: of(func(s bench.LatencyStep) float64 { return s.Rouse.P50 })},
		{name: "Rouse p99", color: "rouse", dashed: true, values: of(func(s bench.LatencyStep) float64 { return s.Rouse.P99 })},
		{name: "floor p50", color: "other", values: of(func(s bench.LatencyStep) float64 { return s.Floor.P50 })},
		{name: "floor p99", color: "other", dashed: true, values: of(func(s bench.LatencyStep) float64 { return s.Floor.P99 })},
	}
	return c
}

func (p *page) appends(r results) {
	p.say("## Appends\n\nAppends per second, each event in a transaction of its own, while one worker handles everything. Push off: the push trigger is\n" +
		"disabled. NOTIFY always: a trigger that notifies on every commit.\n\n")
	if r.append == nil {
		p.missing("bench-append")
	} else {
		for _, d := range r.append.Disks {
			p.appendDisk(d, r.append, "")
		}
	}
	if r.beside == nil {
		p.say("Beside 64 idle processes that listen:\n\n")
		p.missing("bench-append-idle")
	} else {
		for _, d := range r.beside.Disks {
			p.appendDisk(d, r.beside, fmt.Sprintf(", beside %d idle processes that listen", r.beside.Idle))
		}
	}
}

func (p *page) appendDisk(d bench.AppendDisk, r *bench.AppendResult, beside string) {
	title, name := "Append rate by writers", "bench-append"
	if d.Disk == bench.DiskSlow {
		title += ", commit_delay = 5000"
		name += "-delayed"
		p.say("With `commit_delay = 5000, commit_siblings = 0`, as on a slow disk%s:\n\n", beside)
	} else {
		p.say("On the disk as it is%s; written by %s:\n\n", beside, r.Writer)
	}
	c := chart{title: title, x: "writers", y: "appends per second", log: true, series: []series{
		{name: "push off", color: "other"}, {name: "Rouse", color: "rouse"}, {name: "NOTIFY always", color: "third"},
	}}
	var rows [][]string
	for _, row := range d.Rows {
		rows = append(rows, []string{strconv.Itoa(row.Writers), grouped(row.Off), grouped(row.Rouse), ratio(row.RouseRatio), grouped(row.NotifyAlways), ratio(row.NotifyAlwaysRatio)})
		c.labels = append(c.labels, strconv.Itoa(row.Writers))
		for i, v := range []float64{row.Off, row.Rouse, row.NotifyAlways} {
			c.series[i].values = append(c.series[i].values, v)
		}
	}
	p.table([]string{"writers", "push off", "Rouse", "ratio", "NOTIFY always", "ratio"}, rows)
	if beside == "" {
		p.picture(name+".svg", c)
	}
}

func (p *page) catchup(r results) {
	p.say("## Catching up\n\n")
	if r.catchup == nil {
		p.missing("bench-catchup")
		return
	}
	c := r.catchup
	p.say("A history of %s events by one worker, events per second, from the start of the worker to the commit of the last batch.\n\n", grouped(float64(c.Events)))
	rows := [][]string{
		{"nothing but checkpoints", grouped(c.Nothing.Rouse), "reading in batches, nothing decoded", grouped(c.Nothing.Floor), ratio(c.Nothing.Ratio)},
		{"an upsert for each event", grouped(c.Upsert.Rouse), "the same by hand, pipelined", grouped(c.Upsert.Floor), ratio(c.Upsert.Ratio)},
	}
	if len(c.Batched.Rounds) > 0 && len(c.Apply.Rounds) > 0 {
		rows = append(rows,
			[]string{"`Batched`, a statement for each event", grouped(c.Batched.Rouse), "the same by hand, pipelined", grouped(c.Batched.Floor), ratio(c.Batched.Ratio)},
			[]string{"`Apply` that does nothing", grouped(c.Apply.Rouse), "the same by hand", grouped(c.Apply.Floor), ratio(c.Apply.Ratio)})
	}
	if c.Process != nil {
		rows = append(rows, []string{"`rouse worker --once`, its built-in projection, the whole process", grouped(c.Process.PerSecond),
			"reading in batches, nothing decoded", grouped(c.Nothing.Floor), ratio(c.Process.Ratio)})
	}
	p.table([]string{"projection", "Rouse", "floor", "", "ratio"}, rows)
	if c.Process != nil && c.Process.PeakMiB > 0 {
		p.say("That process had %.0f MiB of memory at most.\n\n", c.Process.PeakMiB)
	}
}

func (p *page) scale(r results) {
	p.say("## Several workers\n\n")
	if r.scale == nil {
		p.missing("bench-scale")
		return
	}
	p.say("The same history of %s events by several processes with fixed shares, from the start of the first to the end of the last, and the\n"+
		"processor time of all of them and the server. On %d cores more workers cannot be faster than the cores allow; what is to read is\n"+
		"what it costs.\n\n", grouped(float64(r.scale.Events)), r.scale.Server.Machine.Cores)
	c := chart{title: "Catching up by workers", x: "workers", y: "events per second", bars: true, series: []series{{name: "events per second", color: "rouse"}}}
	var rows [][]string
	for _, row := range r.scale.Rows {
		of := func(value func(bench.ScaleRound) float64) string {
			return fmt.Sprintf("%.2f", bench.Median(row.Rounds, value))
		}
		rows = append(rows, []string{strconv.Itoa(row.Workers), grouped(row.PerSecond), ratio(row.Speedup),
			of(func(r bench.ScaleRound) float64 { return r.WorkersCPU }), of(func(r bench.ScaleRound) float64 { return r.ServerCPU }), ratio(row.CPURatio)})
		c.labels = append(c.labels, strconv.Itoa(row.Workers))
		c.series[0].values = append(c.series[0].values, row.PerSecond)
	}
	p.table([]string{"workers", "events/s", "ratio", "CPU of the workers, s", "of the server, s", "ratio of both"}, rows)
	p.picture("bench-scale.svg", c)
}

func (p *page) idle(r results) {
	p.say("## At rest\n\n")
	if r.idle == nil {
		p.missing("bench-idle")
		return
	}
	i := r.idle
	n := func(v float64) string { return fmt.Sprintf("%.2f", v) }
	p.say("%d workers that sleep and are not pushed, for %g s: statements in 10 seconds and worker, as their connections sent them, `begin` and\n"+
		"`commit` included.\n\n", i.Workers, i.Seconds)
	p.table([]string{"what for", "statements"}, [][]string{
		{fmt.Sprintf("event path, in %s round trips", n(i.EventTrips)), n(i.EventPath)}, {"watch over the other workers", n(i.Watch)}, {"ownership", n(i.Ownership)},
		{"heartbeat", n(i.Heartbeat)}, {"probe of the push", n(i.Probe)}, {"transactions that the server counted", n(i.Transactions)},
	})
	p.say("%d appends with nobody asleep sent %d notifications, and as many with a worker asleep sent %d.\n\n", i.Appends, i.Unslept, i.Slept)
}

// sideNames are what the sides are called on the page.
var sideNames = map[string]string{compare.Rouse: "Rouse", compare.Naive: "naive LISTEN worker", compare.Watermill: "watermill-sql", compare.River: "River"}

func (p *page) compare(r results) {
	p.say("## Beside others\n\n")
	if r.compare == nil {
		p.missing("bench-compare")
		return
	}
	o := r.compare.Options
	river := ""
	if s := r.side(compare.River); s != nil {
		river = fmt.Sprintf(", by [River](https://github.com/riverqueue/river), a queue of jobs without an order (%d at once, each completed in the\n"+
			"transaction of its effect, %g ms between two fetches, %s events of the history)", o.River.Workers, float64(o.River.Cooldown.Microseconds())/1000, grouped(float64(s.Events)))
	}
	p.say("The same work in one run by Rouse, by [watermill-sql](https://github.com/ThreeDotsLabs/watermill-sql) v4 (batches of %s, a poll every\n"+
		"%d ms; its defaults are 100 and a second)%s, and by the worker that is written first, which has none of the promises\n"+
		"([bench/compare](../bench/compare)). No worker's commit waits for the disk. Catching up is with %s events and a handler that does\n"+
		"nothing; upserts are with one for each event in the worker's transaction; latency is of events one by one, %d of each side; appends\n"+
		"are by %d writers.\n\n", grouped(float64(o.Tuning.Batch)), o.Tuning.Poll.Milliseconds(), river, grouped(float64(o.Events)), o.Timed*o.Rounds, o.Writers)
	var rows [][]string
	c := chart{title: "Catching up, a handler that does nothing", x: "worker", y: "events per second", bars: true, series: []series{{name: "events per second", color: "rouse"}}}
	for _, s := range r.compare.Sides {
		rows = append(rows, []string{sideNames[s.Name], grouped(s.Idle), grouped(s.Upsert), fmt.Sprintf("%.2f", s.Latency.P50), fmt.Sprintf("%.2f", s.Latency.P99),
			grouped(s.Append), fmt.Sprintf("%.0f", s.DrainMS), fmt.Sprintf("%s of %s", grouped(float64(s.Lost)), grouped(float64(s.Appended)))})
		c.labels = append(c.labels, sideNames[s.Name])
		c.series[0].values = append(c.series[0].values, s.Idle)
	}
	p.table([]string{"", "catching up, events/s", "with upserts, events/s", "latency p50, ms", "p99, ms", "appends/s meanwhile", "behind at their end, ms", "events lost"}, rows)
	p.picture("bench-compare.svg", c)
}

// grouped writes a whole number with commas.
func grouped(v float64) string {
	digits := strconv.FormatInt(int64(math.Round(v)), 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
