package console

import (
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// A text that is shortened stays a text, and numbers with commas are the same numbers.
func FuzzPrinting(f *testing.F) {
	f.Add("ü€😀", 3, int64(-9223372036854775808))
	f.Add("\x80\x80\x80", 1, int64(-1000))
	f.Add("", 0, int64(999))
	f.Fuzz(func(t *testing.T, text string, n int, number int64) {
		n &= 1<<10 - 1
		short := Clip(text, n)
		require.LessOrEqual(t, len(short), n)
		require.True(t, strings.HasPrefix(text, short))
		require.True(t, !utf8.ValidString(text) || utf8.ValidString(short))
		require.Greater(t, len(short), min(n, len(text))-utf8.UTFMax-len(text)*btoi(!utf8.ValidString(text)))

		parsed, err := strconv.ParseInt(strings.ReplaceAll(Grouped(number), ",", ""), 10, 64)
		require.NoError(t, err)
		require.Equal(t, number, parsed)
		require.Regexp(t, `^-?[0-9]{1,3}(,[0-9]{3})*$`, Grouped(number))
	})
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
