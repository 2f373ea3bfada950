package report

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/rouse-es/rouse/internal/bench"
)

func ms(v float64) string { return fmt.Sprintf("%.2f", v) }

// one returns a number with one digit, and without a sign where that is zero: what is counted less what the same time takes without
// events may come out below it.
func one(v float64) string {
	if text := fmt.Sprintf("%.1f", v); text != "-0.0" {
		return text
	}
	return "0.0"
}

// writersRates shows what a worker costs those who append on schedule.
func (p *page) writersRates(busy *bench.LatencyResult) {
	var rows [][]string
	for _, s := range busy.Steps {
		if s.Append != nil && s.AloneAppend != nil {
			rows = append(rows, []string{grouped(s.Rate), grouped(s.Appended), ms(s.Append.P50), ms(s.Append.P99),
				grouped(s.AloneAppended), ms(s.AloneAppend.P50), ms(s.AloneAppend.P99), ratio(s.Appended / s.AloneAppended)})
		}
	}
	if len(rows) > 0 {
		p.say("What these %d writers came to, and how long an append took them, ms, beside the worker and beside nobody:\n\n", busy.Writers)
		p.table([]string{"asked for", "appends/s", "p50", "p99", "beside nobody, appends/s", "p50", "p99", "ratio of the rates"}, rows)
	}
}

func (p *page) ladder(r results) {
	p.say("### Step by step\n\n")
	if r.ladder == nil {
		p.missing("bench-ladder")
		return
	}
	l := r.ladder
	p.say("%d writers append on schedule at one rate after the other, %g s each, up and down without a pause; median of %d rounds, ms. The p50 of neighbours\n"+
		"differs by %.2f times at most (%s and %s/s), that of the floor by %.2f times.\n\n", l.Writers, l.Seconds, l.Rounds, l.Worst, grouped(l.Between[0]), grouped(l.Between[1]), l.FloorWorst)
	c := chart{title: "Latency from step to step", x: "appends per second, one step after the other", y: "ms, commit to commit", log: true, series: []series{
		{name: "Rouse p50", color: "rouse"}, {name: "Rouse p99", color: "rouse", dashed: true}, {name: "floor p50", color: "other"},
	}}
	var rows [][]string
	for _, s := range l.Steps {
		rows = append(rows, []string{grouped(s.Rate), ms(s.Rouse.P50), ms(s.Rouse.P90), ms(s.Rouse.P99), ms(s.Floor.P50), ms(s.Floor.P99)})
		c.labels = append(c.labels, short(s.Rate))
		for i, v := range []float64{s.Rouse.P50, s.Rouse.P99, s.Floor.P50} {
			c.series[i].values = append(c.series[i].values, v)
		}
	}
	p.table([]string{"appends/s", "Rouse p50", "p90", "p99", "floor p50", "p99"}, rows)
	p.picture("bench-ladder.svg", c)
}

func (p *page) cost(r results) {
	p.say("### What one event takes\n\n")
	if r.cost == nil {
		p.missing("bench-cost")
		return
	}
	c := r.cost
	p.say("Of %d events at %g/s, each waited for, the append itself included; median of %d rounds, less what the same time took without events.\n"+
		"Statements are counted on the wire, on all connections; switches are voluntary context switches, of the process with the writer in it.\n\n",
		c.Events, c.Rate, len(c.Rouse.Rounds))
	var rows [][]string
	for _, side := range []struct {
		name string
		of   bench.CostSide
	}{{"floor, two connections", c.Floor}, {"floor, one connection", c.One}, {"Rouse", c.Rouse}} {
		s := side.of
		rows = append(rows, []string{side.name, one(s.Statements), one(s.Ends), one(s.Trips), one(s.Switches), one(s.ServerSwitches), grouped(s.Allocations), grouped(s.Bytes)})
	}
	p.table([]string{"", "statements", "begin and commit", "round trips", "switches", "of the server", "allocations", "bytes allocated"}, rows)
}

func (p *page) plainTable(r results) {
	p.say("### Against a plain table\n\n")
	if r.writers == nil {
		p.missing("bench-writers")
		return
	}
	w := r.writers
	p.say("At full speed, each event in a transaction of its own, written by %s, median of rounds of %g s: to a plain table with the same columns\n"+
		"and unique keys and to Rouse's log; with nobody else, beside a naive worker that polls every %g ms and has none of the promises, and\n"+
		"beside a worker that handles everything.\n\n", w.Writer, w.Length, w.PollMS)
	var rows [][]string
	c := chart{title: "Append rate at full speed by writers", x: "writers", y: "appends per second", log: true, series: []series{
		{name: "plain table, polled", color: "other"}, {name: "Rouse, everything handled", color: "rouse"}, {name: "plain table, alone", color: "third"},
	}}
	for _, row := range w.Rows {
		rows = append(rows, []string{strconv.Itoa(row.Writers), grouped(row.Plain), grouped(row.Log), ratio(row.Alone), grouped(row.PlainPolled), grouped(row.Rouse),
			ratio(row.Beside), grouped(row.LogPolled), ratio(row.Worker)})
		c.labels = append(c.labels, strconv.Itoa(row.Writers))
		for i, v := range []float64{row.PlainPolled, row.Rouse, row.Plain} {
			c.series[i].values = append(c.series[i].values, v)
		}
	}
	p.table([]string{"writers", "plain, alone", "log, alone", "ratio", "plain, polled", "log, worker", "ratio", "log, polled", "log, worker of that"}, rows)
	p.picture("bench-writers.svg", c)
}

func (p *page) partitions(r results) {
	p.say("### Partitions\n\n")
	if r.partitions == nil {
		p.missing("bench-partitions")
		return
	}
	q := r.partitions
	p.say("One worker that owns them all: a history of %s events, events per second, and %d events at rest at %g/s, ms. Ratios are to the first row; above 1\n"+
		"is better.\n\n", grouped(float64(q.Events)), q.Timed, q.Rate)
	var rows [][]string
	for _, row := range q.Rows {
		rows = append(rows, []string{grouped(float64(row.Partitions)), grouped(row.Nothing), ratio(row.NothingRatio), grouped(row.Upsert), ratio(row.UpsertRatio),
			ms(row.Quiet.P50), ms(row.Quiet.P99), ratio(row.QuietRatio)})
	}
	p.table([]string{"partitions", "nothing but checkpoints", "ratio", "upserts", "ratio", "at rest p50", "p99", "ratio"}, rows)
}

func (p *page) payloads(r results) {
	p.say("### Large events\n\n")
	if r.payloads == nil {
		p.missing("bench-payloads")
		return
	}
	p.say("A worker process with a projection that writes nothing but its checkpoints, beside a loop that reads 1,000 events at a time and decodes none.\n" +
		"Payloads cannot be compressed.\n\n")
	var rows [][]string
	for _, row := range r.payloads.Rows {
		rows = append(rows, []string{grouped(float64(row.Bytes)), grouped(float64(row.Events)), grouped(row.Rouse), grouped(row.Floor), ratio(row.Ratio), fmt.Sprintf("%.0f", row.PeakMiB)})
	}
	p.table([]string{"bytes", "events", "Rouse, events/s", "raw read, events/s", "ratio", "memory at most, MiB"}, rows)
}

func (p *page) wait(r results) {
	p.say("## Waiting for what was written\n\n")
	if r.wait == nil {
		p.missing("bench-wait")
		return
	}
	w := r.wait
	p.say("So many callers in one process append an event each, all at once, and wait with `rouse.WaitFor` until the worker, in another process, has\n"+
		"handled it; %d rounds, one each %g ms. From the acknowledged commit of the append to the acknowledged commit of the effect, and to the return of\n"+
		"the wait, ms; and the statements that each wait sends, begin and commit included.\n\n", w.Rounds, w.Interval)
	var rows [][]string
	for _, row := range w.Rows {
		rows = append(rows, []string{strconv.Itoa(row.Waiters), ms(row.Alone.P50), ms(row.Handled.P50), ms(row.Handled.P99), ms(row.Waited.P50), ms(row.Waited.P99),
			ratio(row.Ratio.P50), ms(row.Statements)})
	}
	p.table([]string{"waiters", "handled, nobody waits, p50", "handled p50", "p99", "waited p50", "p99", "ratio of the p50", "statements"}, rows)
}

func (p *page) projections(r results) {
	p.say("## Many projections in one process\n\n")
	if r.projections == nil {
		p.missing("bench-projections")
		return
	}
	m := r.projections
	p.say("Each handles every event; %d events at %g/s on schedule. From the acknowledged commit of an append to the commit of the last projection, ms. The\n"+
		"pool may have two connections for each projection and one more; what was used is counted by the server.\n\n", m.Events, m.Rate)
	var rows [][]string
	for _, row := range m.Rows {
		rows = append(rows, []string{strconv.Itoa(row.Projections), ms(row.Last.P50), ms(row.Last.P99), ratio(row.Ratio), strconv.FormatInt(row.Connections, 10),
			fmt.Sprintf("%.0f", row.PeakMiB), ms(row.Start)})
	}
	p.table([]string{"projections", "p50", "p99", "p50 of the first row's", "connections", "memory at most, MiB", "start, s"}, rows)
}

// crowd shows the workers of one projection that are more than its partitions.
func (p *page) crowd(r results) {
	if r.crowd == nil {
		p.say("64 workers of one projection:\n\n")
		p.missing("bench-idle-many")
		return
	}
	c := r.crowd
	p.say("%d workers of one projection, for %g s, all statements that all of them sent: %.1f a second, on %d connections.\n\n", c.Workers, c.Seconds, c.Sent, c.Connections)
}

func (p *page) tenants(r results) {
	p.say("## Many schemas in one process\n\n")
	if r.tenants == nil {
		p.missing("bench-tenants")
		return
	}
	t := r.tenants
	p.say("A group of %d schemas with a log each, on a pool of ten connections, with nothing to do for %g s:\n\n", t.Schemas, t.Seconds)
	row := func(name string, v bench.Rest) []string {
		return []string{name, ms(v.Start), strconv.FormatInt(v.Connections, 10), one(v.Transactions), one(v.Statements), fmt.Sprintf("%d", v.Heap>>20), strconv.Itoa(v.Goroutines)}
	}
	rows := [][]string{row(fmt.Sprintf("a group of %d", t.Schemas), t.Group)}
	if t.Apart != nil {
		rows = append(rows, row(fmt.Sprintf("%d workers apart", t.Apart.Workers), *t.Apart))
	}
	p.table([]string{"", "start, s", "connections", "transactions/s", "statements/s", "heap, MB", "goroutines"}, rows)
	var kinds []string
	for kind := range t.Group.Kinds {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	rows = nil
	for _, kind := range kinds {
		rows = append(rows, []string{kind, ms(t.Group.Kinds[kind])})
	}
	p.table([]string{"statements of the group for", "a second"}, rows)
	p.say("A burst of one append to each schema was handled in %.2f s, with %d connections. From append to effect, %d of each side in turn, ms:\n\n",
		t.Burst, t.BurstConnections, t.Appends)
	of := func(name string, v bench.Percentiles) []string {
		return []string{name, ms(v.P50), ms(v.P90), ms(v.P99)}
	}
	p.table([]string{"", "p50", "p90", "p99"}, [][]string{
		of("first of each schema", t.First), of("one schema, a worker alone", t.One), of("spread over the group", t.Spread), of("ratio", bench.Percentiles(t.Ratio)),
	})
}
