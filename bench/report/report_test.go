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
	for _, target := range []string{"bench-latency", "bench-append", "bench-catchup", "bench-scale", "bench-idle", "bench-compare"} {
		assert.Contains(t, page, "Not measured yet: `make "+target+"`.")
	}
	assert.NotContains(t, page, "reached")
	assert.Empty(t, images)
}

func TestGoals(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	step := func(rate, p50, p99 float64) bench.LatencyStep {
		s := bench.LatencyStep{Rate: rate, Events: 100, FloorHandled: 97,
			Rouse: bench.Percentiles{P50: p50, P90: p50, P99: p99}, Floor: bench.Percentiles{P50: 1, P90: 1, P99: 20}}
		s.Ratio = s.Rouse.Over(s.Floor)
		return s
	}
	server := bench.Server{Version: "PostgreSQL 15.1", Settings: map[string]string{"fsync": "on"}, Machine: bench.Machine{CPU: "a processor", Cores: 3, Go: "go1.26", Day: time.Unix(0, 0).UTC()}}
	put(t, dir, "latency-quiet", bench.LatencyResult{Server: server, Writers: 1, Steps: []bench.LatencyStep{step(10, 1.5, 40), step(100, 1.6, 1)}})
	put(t, dir, "latency-busy", bench.LatencyResult{Server: server, Writers: 16, Steps: []bench.LatencyStep{step(2000, 5, 40)}})
	put(t, dir, "append", bench.AppendResult{Server: server, Disks: []bench.AppendDisk{{Disk: bench.DiskSlow, Rows: []bench.AppendRow{
		{Writers: 1, Off: 100, Rouse: 91, RouseRatio: .91, NotifyAlways: 50}, {Writers: 16, Off: 100, Rouse: 96, RouseRatio: .96, NotifyAlways: 50}}}}})
	put(t, dir, "compare", compare.Result{Server: server, Sides: []compare.Side{{Name: compare.Rouse, Idle: 900}, {Name: compare.Watermill, Idle: 100}}})
	page, images := write(t, dir)
	assert.Contains(t, page, "| 10/s: 1.50x, 2.00x; 100/s: 1.60x, 0.05x | **not reached** |")
	assert.Contains(t, page, "| 2,000/s: 5.00 ms, 40.0 ms | reached |")
	assert.Contains(t, page, "| delayed, 1: 0.91; delayed, 16: 0.96 | reached |")
	assert.Contains(t, page, "| 9.0x | **not reached** |")
	assert.Contains(t, page, "Measured on 1 January 1970: a processor, 3 cores")
	assert.Equal(t, 1, strings.Count(page, "Measured on"), "a machine is named once")
	assert.Contains(t, page, "3 of 100", "what the floor lost")
	require.Len(t, images, 3)
	for name, svg := range images {
		assert.Contains(t, page, "(img/"+name+")")
		requireXML(t, svg)
		assert.Contains(t, svg, "prefers-color-scheme: dark")
	}
	assert.Contains(t, images["bench-latency.svg"], "Rouse p99, 2,000: 40")
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
