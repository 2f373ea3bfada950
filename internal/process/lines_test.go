package process

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLinesKeepsTheLast(t *testing.T) {
	t.Parallel()
	output := &Lines{}
	require.Equal(t, "(no output)", output.String())
	for i := range 100 {
		line := fmt.Sprintf("line %d\r\n\n", i)
		for len(line) > 0 { // in pieces, as from a pipe
			n, err := output.Write([]byte(line[:min(3, len(line))]))
			require.NoError(t, err)
			line = line[n:]
		}
	}
	_, err := output.Write([]byte("unfinished"))
	require.NoError(t, err)
	text := output.String()
	require.NotContains(t, text, "line 87")
	require.Contains(t, text, "line 88\nline 89\n")
	require.Contains(t, text, "line 99\nunfinished")

	_, err = output.Write(make([]byte, 10*longestLine))
	require.NoError(t, err)
	require.Empty(t, output.partial, "a line without an end is not collected for ever")
}

func TestLastLinesOfAChild(t *testing.T) {
	t.Parallel()
	var l Lines
	assert.Empty(t, l.Last())
	for i := range 30 {
		_, _ = fmt.Fprintf(&l, "line %d\nrest", i)
		_, _ = fmt.Fprint(&l, " of it\n")
	}
	_, _ = fmt.Fprint(&l, "rouse: the end")
	assert.Equal(t, "rouse: the end", l.Last())
	all := l.All()
	require.Len(t, all, defaultKeep+1)
	assert.Equal(t, []string{"line 29", "rest of it", "rouse: the end"}, all[len(all)-3:])
	_, _ = l.Write(make([]byte, 10*longestLine))
	assert.LessOrEqual(t, len(l.Last()), longestLine)
}
