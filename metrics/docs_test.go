package metrics_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/metrics"
)

func readFile(t *testing.T, path ...string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(append([]string{".."}, path...)...))
	require.NoError(t, err)
	return raw
}

// names are the metrics that exist.
func names(t *testing.T) []string {
	t.Helper()
	all := registered(metrics.New(testdb.New(t).Pool))
	require.Greater(t, len(all), 20)
	slices.Sort(all)
	return all
}

// TestOperationsExplainsEveryMetric, and no other.
func TestOperationsExplainsEveryMetric(t *testing.T) {
	t.Parallel()
	row := regexp.MustCompile("(?m)^\\| `(rouse_[a-z_]+)` \\| [^|]+ \\| [^|]* \\| [^|]+ \\|$")
	var explained []string
	for _, m := range row.FindAllSubmatch(readFile(t, "docs", "operations.md"), -1) {
		explained = append(explained, string(m[1]))
	}
	slices.Sort(explained)
	assert.Equal(t, names(t), explained)
}

// TestEveryNameHasItsUnit: what only rises ends in _total, and what is a time in _seconds.
func TestEveryNameHasItsUnit(t *testing.T) {
	t.Parallel()
	m := metrics.New(testdb.New(t).Pool)
	families, err := m.Registry().Gather()
	require.NoError(t, err)
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "rouse_") {
			assert.Equal(t, f.GetType().String() == "COUNTER", strings.HasSuffix(f.GetName(), "_total"), f.GetName())
		}
	}
}

// requireKnown checks that every metric in an expression exists, with the suffix that its type has.
func requireKnown(t *testing.T, known []string, expr string) {
	t.Helper()
	balanced := strings.Count(expr, "(") == strings.Count(expr, ")") && strings.Count(expr, "{") == strings.Count(expr, "}") &&
		strings.Count(expr, "[") == strings.Count(expr, "]") && strings.Count(expr, `"`)%2 == 0
	assert.True(t, balanced, "brackets and quotes of %s", expr)
	used := regexp.MustCompile(`rouse_[a-z_]+`).FindAllString(expr, -1)
	assert.NotEmpty(t, used, "%s", expr)
	for _, name := range used {
		base := strings.TrimSuffix(name, "_bucket")
		assert.Contains(t, known, base, "%s", expr)
		if base != name {
			assert.True(t, strings.HasSuffix(base, "_seconds"), "%s is no histogram", base)
		}
	}
}

// TestAlertsAskForMetricsThatExist and say what to do.
func TestAlertsAskForMetricsThatExist(t *testing.T) {
	t.Parallel()
	var rules struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	dec := yaml.NewDecoder(strings.NewReader(string(readFile(t, "deploy", "prometheus", "rules.yml"))))
	dec.KnownFields(true)
	require.NoError(t, dec.Decode(&rules))
	require.Len(t, rules.Groups, 1)
	known := names(t)
	var alerts []string
	for _, r := range rules.Groups[0].Rules {
		requireKnown(t, known, r.Expr)
		assert.Contains(t, []string{"critical", "warning"}, r.Labels["severity"], r.Alert)
		assert.NotEmpty(t, r.Annotations["summary"], r.Alert)
		assert.NotEmpty(t, r.Annotations["description"], r.Alert)
		alerts = append(alerts, r.Alert)
	}
	for _, must := range []string{"RouseWorkerDead", "RousePartitionsUnowned", "RouseEventsParked", "RouseListenerDeaf", "RouseHorizonHeld", "RouseLagGrows", "RouseVersionJumps", "RouseEventsRetried", "RouseSnapshotHeld"} {
		assert.Contains(t, alerts, must)
	}
}

// TestDashboardAsksForMetricsThatExist, and leaves none out that a person would look for there.
func TestDashboardAsksForMetricsThatExist(t *testing.T) {
	t.Parallel()
	var dashboard struct {
		Title  string
		Panels []struct {
			ID      int
			Type    string
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr, RefID string }
		}
	}
	raw := readFile(t, "deploy", "grafana", "rouse.json")
	require.NoError(t, json.Unmarshal(raw, &dashboard))
	known := names(t)
	ids := map[int]bool{}
	require.NotEmpty(t, dashboard.Panels)
	for _, p := range dashboard.Panels {
		assert.False(t, ids[p.ID], "two panels with the id %d", p.ID)
		ids[p.ID] = true
		assert.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, p.Title)
		assert.NotEmpty(t, p.Targets, p.Title)
		for _, target := range p.Targets {
			requireKnown(t, known, target.Expr)
		}
	}
	elsewhere := []string{"rouse_database_up", "rouse_database_errors_total", "rouse_head_position", "rouse_horizon_hold_pid",
		"rouse_projection_halted", "rouse_projection_state", "rouse_unknown_events_total", "rouse_version_jumps_total", "rouse_worker_ready"}
	for _, name := range known {
		if !slices.Contains(elsewhere, name) {
			assert.Contains(t, string(raw), name, "no panel shows it")
		}
	}
}
