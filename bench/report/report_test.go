package report

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/bench/compare"
	"github.com/rouse-es/rouse/internal/bench"
)

// put writes a result as its part would.
func put(t *testing.T, dir, name string, result any) {
	t.Helper()
	text, err := json.Marshal(result)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, name+".json"), text, 0o600))
}

// write makes the page.
func write(t *testing.T, results string) (page string, images map[string]string) {
	t.Helper()
	docs := t.TempDir()
	require.NoError(t, Write(results, docs))
	text, err := os.ReadFile(filepath.Join(docs, "performance.md"))
	require.NoError(t, err)
	images = map[string]string{}
	found, err := filepath.Glob(filepath.Join(docs, "img", "*.svg"))
	require.NoError(t, err)
	for _, path := range found {
		svg, err := os.ReadFile(path)
		require.NoError(t, err)
		images[filepath.Base(path)] = string(svg)
	}
	return string(text), images
}

// TestPartsThatWereNotRunAreNamed, each with the target that runs it.
func TestPartsThatWereNotRunAreNamed(t *testing.T) {
	t.Parallel()
	page, images := write(t, t.TempDir())
	for _, target := range []string{"bench-latency", "bench-ladder", "bench-cost", "bench-append", "bench-append-idle", "bench-writers", "bench-catchup",
		"bench-partitions", "bench-payloads", "bench-scale", "bench-projections", "bench-wait", "bench-idle", "bench-idle-many", "bench-tenants", "bench-compare"} {
		assert.Contains(t, page, "Not measured yet: `make "+target+"`.")
	}
	assert.NotContains(t, page, "reached")
	assert.Empty(t, images)
}

func TestGoals(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	step := func(rate, p50, p99 float64) bench.LatencyStep {
		s := bench.LatencyStep{Rate: rate, Events: 100, FloorHandled: 97, Appended: 96, AloneAppended: 100, Append: &bench.Percentiles{P50: 1}, AloneAppend: &bench.Percentiles{P50: 1},
			Rouse: bench.Percentiles{P50: p50, P90: p50, P99: p99}, Floor: bench.Percentiles{P50: 1, P90: 1, P99: 20}}
		s.Ratio = s.Rouse.Over(s.Floor)
		return s
	}
	server := bench.Server{Version: "PostgreSQL 15.1", Settings: map[string]string{"fsync": "on"}, Machine: bench.Machine{CPU: "a processor", Cores: 3, Go: "go1.26", Day: time.Unix(0, 0).UTC()}}
	put(t, dir, "latency-quiet", bench.LatencyResult{Server: server, Writers: 1, FloorRows: 9, Steps: []bench.LatencyStep{step(10, 1.1, 20), step(100, 1.2, 25)}})
	put(t, dir, "latency-busy", bench.LatencyResult{Server: server, Writers: 16, FloorRows: 9, Steps: []bench.LatencyStep{step(1000, 1.2, 5), step(3000, 1, 4)}})
	put(t, dir, "latency-rows", bench.LatencyResult{Server: server, Writers: 1, FloorRows: 9, Steps: []bench.LatencyStep{
		{TableRows: 100_000, Ratio: bench.Ratio{P50: 1}, Rouse: bench.Percentiles{P50: 2}, Floor: bench.Percentiles{P50: 1}},
		{TableRows: 10_000_000, Ratio: bench.Ratio{P50: 1.1}, Rouse: bench.Percentiles{P50: 3}, Floor: bench.Percentiles{P50: 1}}}})
	put(t, dir, "append", bench.AppendResult{Server: server, Disks: []bench.AppendDisk{{Disk: bench.DiskSlow, Rows: []bench.AppendRow{
		{Writers: 1, Off: 100, Rouse: 91, RouseRatio: .91, NotifyAlways: 50}, {Writers: 16, Off: 100, Rouse: 96, RouseRatio: .96, NotifyAlways: 50}}}}})
	put(t, dir, "compare", compare.Result{Server: server, Sides: []compare.Side{{Name: compare.Rouse, Idle: 900}, {Name: compare.Watermill, Idle: 100}, {Name: compare.River, Idle: 3}}})
	again := server
	again.Machine.Memory = .001 // as behind another start
	put(t, dir, "cost", bench.CostResult{Server: again, Rouse: bench.CostSide{Cost: bench.Cost{Statements: 5, Ends: -.04, Trips: -.06, Switches: 24, Allocations: 161}}})
	put(t, dir, "ladder", bench.LadderResult{Server: server, Worst: 2.01, Between: [2]float64{300, 1000}, Steps: []bench.LadderStep{{Rate: 100}, {Rate: 3000}, {Rate: 100}}})
	put(t, dir, "writers", bench.WritersResult{Server: server, Rows: []bench.WritersRow{{Writers: 1, Alone: .9}, {Writers: 64, Alone: .9, Beside: .9, Worker: 1}}})
	put(t, dir, "partitions", bench.PartitionsResult{Server: server, Rows: []bench.PartitionsRow{{Partitions: 32}, {Partitions: 1024, NothingRatio: .8, UpsertRatio: .79, QuietRatio: 1}}})
	put(t, dir, "projections", bench.ManyResult{Server: server, Rows: []bench.ManyRow{{Projections: 1}, {Projections: 50, Ratio: 3, Connections: 10, PeakMiB: 64, Start: 2},
		{Projections: 200, Ratio: 8, Connections: 10, PeakMiB: 128, Start: 2}}})
	put(t, dir, "payloads", bench.PayloadsResult{Server: server, Rows: []bench.PayloadsRow{{Bytes: 1 << 20, PeakMiB: 128, Ratio: .8}, {Bytes: 10 << 10, PeakMiB: 128, Ratio: .8}, {Bytes: 100, PeakMiB: 0, Ratio: 1}}})
	put(t, dir, "idle-many", bench.IdleResult{Server: server, Workers: 64, Sent: 20, Connections: 130})
	put(t, dir, "tenants", bench.TenantsResult{Server: server, Schemas: 7})
	put(t, dir, "wait", bench.WaitResult{Server: server, Rows: []bench.WaitRow{{Waiters: 1, Ratio: bench.Ratio{P50: 1.2}}, {Waiters: 10, Ratio: bench.Ratio{P50: 1.21}}}})
	page, images := write(t, dir)
	assert.Contains(t, page, "| 1: 1.20x; 10: 1.21x; 100: not measured | **not reached** |")
	assert.Contains(t, page, "| 10/s: 1.10x, 1.00x; 100/s: 1.20x, 1.25x; 50/s: not measured | **not reached** |")
	assert.Contains(t, page, "| 1,000/s: 1.20 ms, 5.0 ms, writers 0.96 (p50 of an append 1.00 and 1.00 ms); 3,000/s: 1.00 ms, 4.0 ms, writers 0.96 (p50 of an append 1.00 and 1.00 ms) | reached |")
	assert.Contains(t, page, "| 5.0; 24.0; 161 (the floor 0.0, 0.0, 0) | **not reached** |")
	assert.Contains(t, page, "| Rouse | 5.0 | 0.0 | -0.1 | 24.0 |", "less than nothing is nothing where it rounds to that")
	assert.Contains(t, page, "| 2.01x between 300 and 1,000/s | **not reached** |")
	assert.Contains(t, page, "| 0.90 (1.00 of the log beside that poller) | reached |")
	assert.Contains(t, page, "| 1: 0.90; 64: 0.90; 4, 16: not measured | not measured |", "nothing is reached of which a part is missing")
	assert.Contains(t, page, "| nothing: 0.80; upserts: 0.79; at rest: 1.00 | **not reached** |")
	assert.Contains(t, page, "| 50: 3.0x, 10, 64 MiB, 2.0 s; 200: 8.0x, 10, 128 MiB, 2.0 s | reached |")
	assert.Contains(t, page, "100 B: 0 MiB, 1.00 | **not reached** |", "memory that is not known is not small")
	assert.Contains(t, page, "| 20.0 on 130 connections | reached |")
	assert.Contains(t, page, "| 10,000,000 rows, more was not tried: p50 2.00 and 3.00 ms, of the floors of the same minutes 1.10x | reached |")
	assert.Contains(t, page, "A group of 7 schemas")
	assert.Contains(t, page, "| delayed, 1: 0.91; delayed, 16: 0.96 | reached |")
	assert.Contains(t, page, "| 9.0x | **not reached** |")
	assert.Contains(t, page, "Measured on 1 January 1970: a processor, 3 cores")
	assert.Equal(t, 1, strings.Count(page, "Measured on"), "a machine is named once")
	assert.Contains(t, page, "3 of 100", "what the floor lost")
	require.Len(t, images, 6)
	for name, svg := range images {
		assert.Contains(t, page, "(img/"+name+")")
		requireXML(t, svg)
		assert.Contains(t, svg, "prefers-color-scheme: dark")
	}
	assert.Contains(t, images["bench-latency.svg"], "Rouse p99, 1,000: 5")
}

// TestResultsBesideAnotherFloorAreNone: what was measured when the floor was read without its index is not shown as reached.
func TestResultsBesideAnotherFloorAreNone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := bench.LatencyStep{Rate: 10, Events: 1, Rouse: bench.Percentiles{P50: 1, P90: 1, P99: 1}, Floor: bench.Percentiles{P50: 1, P90: 1, P99: 1}, Ratio: bench.Ratio{P50: 1, P90: 1, P99: 1}}
	s50, s100 := s, s
	s50.Rate, s100.Rate = 50, 100
	r := bench.LatencyResult{Writers: 1, Steps: []bench.LatencyStep{s, s50, s100}}
	put(t, dir, "latency-quiet", r)
	page, _ := write(t, dir)
	assert.NotContains(t, page, "| reached |")
	assert.Contains(t, page, "Not measured yet: `make bench-latency`.")
	r.FloorRows = 10_000
	put(t, dir, "latency-quiet", r)
	page, _ = write(t, dir)
	assert.Contains(t, page, "| 10/s: 1.00x, 1.00x; 50/s: 1.00x, 1.00x; 100/s: 1.00x, 1.00x | reached |")
}

// requireXML fails unless text is well-formed.
func requireXML(t *testing.T, text string) {
	t.Helper()
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		require.NoError(t, err)
	}
}

func TestScaleHoldsAllValuesBetweenRoundNumbers(t *testing.T) {
	t.Parallel()
	for _, c := range []chart{
		{log: true, series: []series{{values: []float64{0.6, 33}}}},
		{series: []series{{values: []float64{1, 170_000}}}},
		{series: []series{{}}},
	} {
		s := c.scale()
		for _, line := range c.series {
			for _, v := range line.values {
				assert.GreaterOrEqual(t, s.at(v), float64(plotTop)-0.5)
				assert.LessOrEqual(t, s.at(v), float64(plotBottom)+0.5)
			}
		}
		assert.GreaterOrEqual(t, len(s.ticks), 2)
		assert.LessOrEqual(t, len(s.ticks), 9)
	}
}

func TestABrokenResultIsNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "scale.json"), []byte("{"), 0o600))
	require.ErrorContains(t, Write(dir, t.TempDir()), "scale.json is no result")
}
