package cli

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/workertest"
)

// gate is a log whose reader reads only once it is open.
type gate struct {
	workertest.Output
	open chan struct{}
}

func (g *gate) Write(p []byte) (int, error) {
	<-g.open
	return g.Output.Write(p)
}

// TestALogThatNobodyReadsDropsAndCounts: nobody waits for it, and once it is read again it says how many lines are missing.
func TestALogThatNobodyReadsDropsAndCounts(t *testing.T) {
	t.Parallel()
	for name, line := range map[string]string{"many lines": "line\n", "long lines": strings.Repeat("x", bufferedBytes/100) + "\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := &gate{open: make(chan struct{})}
			q := newLogBuffer(g)
			const all = 2 * bufferedLines
			for range all {
				n, err := q.Write([]byte(line))
				require.NoError(t, err)
				require.Equal(t, len(line), n)
			}
			require.False(t, q.Close(), "the end of the program does not wait for ever either")
			close(g.open)
			<-q.done
			written := strings.Count(g.String(), line)
			dropped := q.Dropped()
			require.Positive(t, dropped)
			require.EqualValues(t, all, dropped+int64(written))
			require.LessOrEqual(t, written*len(line), bufferedBytes+len(line))
			require.Contains(t, g.String(), `"lines":`+strconv.FormatInt(dropped, 10)+`,`)
			require.Contains(t, g.String(), "nobody read the log, lines were dropped")
		})
	}
}

// TestALogIsWrittenToItsEndInOrder before the program ends.
func TestALogIsWrittenToItsEndInOrder(t *testing.T) {
	t.Parallel()
	var b workertest.Output
	q := newLogBuffer(&b)
	var want strings.Builder
	for i := range bufferedLines / 2 {
		line := strconv.Itoa(i) + "\n"
		want.WriteString(line)
		_, err := q.Write([]byte(line))
		require.NoError(t, err)
	}
	require.True(t, q.Close())
	require.Equal(t, want.String(), b.String())
	require.Zero(t, q.Dropped())
}

// broken is a log whose reader is gone.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

// TestALogWhoseReaderIsGoneCounts every line.
func TestALogWhoseReaderIsGoneCounts(t *testing.T) {
	t.Parallel()
	q := newLogBuffer(broken{})
	_, _ = io.WriteString(q, "one\n")
	_, _ = io.WriteString(q, "two\n")
	require.True(t, q.Close())
	require.EqualValues(t, 2, q.Dropped())
}
