package demo

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/console"
)

func TestWorkerViewOfSeconds(t *testing.T) {
	t.Parallel()
	p50, p99 := 1.26, 2345.6
	f := Frame{
		Second: 3, Appended: 1300, Handled: 1290, Lag: 10, P50: &p50, P99: &p99,
		Workers: []WorkerFrame{{Label: "worker-0", PID: 4711, SharePercent: 66.6, Partitions: 16, Handled: 860, Mode: "quiet", State: "live"}, {Label: "worker-1", PID: 4712, State: stateKilled}},
	}
	var lines strings.Builder
	v := &lineView{w: &lines}
	for range 2 {
		require.NoError(t, v.frame(f))
	}
	assert.Equal(t, "   3 s  appended 1,300  handled 1,290  lag 10  p50 1.3 ms  p99 2,346 ms  worker-0 67 % quiet  worker-1 0 % killed\n", lines.String(),
		"one line for a second")
}

// TestTableIsDrawnInPlace: a table goes over the one before, a note stays above it, and nothing is wider or higher than the
// terminal.
func TestTableIsDrawnInPlace(t *testing.T) {
	t.Parallel()
	var f Frame
	for i := range 12 {
		f.Workers = append(f.Workers, WorkerFrame{Label: workerLabel(i), PID: 4000000 + i, State: "live", Mode: "torrent"})
	}
	for _, size := range [][2]int{{100, 40}, {30, 8}, {1, 1}, {0, 0}} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			var b strings.Builder
			v := &tableView{w: &b, size: func() (int, int) { return size[0], size[1] }}
			screen := func() string { s := b.String(); b.Reset(); return s }
			width, height := size[0], size[1]
			if width == 0 {
				width, height = 80, 24
			}
			require.NoError(t, v.frame(f))
			first := screen()
			assert.NotContains(t, first, "\x1b")
			rows := strings.Count(first, "\n")
			assert.LessOrEqual(t, rows, max(height-2, 1))
			for line := range strings.Lines(first) {
				assert.Less(t, len(strings.TrimSuffix(line, "\n")), max(width, 1))
			}
			require.NoError(t, v.note(0, "something"))
			over := fmt.Sprintf("\x1b[%dA\r\x1b[J", rows)
			assert.Equal(t, over+console.Clip("   0 s  something", max(width-1, 0))+"\n"+first, screen())
			require.NoError(t, v.frame(f))
			assert.Equal(t, over+first, screen())
			v.end()
			require.NoError(t, v.note(0, "after the end"))
			assert.NotContains(t, screen(), "\x1b", "what is left on the screen is not drawn over")
		})
	}
}

func TestTableHasColoursOnlyWhereTheyAreWelcome(t *testing.T) {
	t.Parallel()
	for _, colour := range []bool{true, false} {
		var b strings.Builder
		v := &tableView{w: &b, colour: colour, size: func() (int, int) { return 80, 24 }}
		require.NoError(t, v.frame(Frame{Workers: []WorkerFrame{{Label: "worker-0", State: stateKilled}}}))
		assert.Equal(t, colour, strings.Contains(b.String(), "\x1b["))
	}
}
