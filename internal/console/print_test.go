package console

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWhatWouldSteerATerminalIsSpelledOut(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"order/Müller 7":      "order/Müller 7",
		`say "x" \ y`:         `say "x" \ y`,
		"a\x1b[2Jb":           `a\x1b[2Jb`,
		"one\ntwo\ttabs":      `one\ntwo\ttabs`,
		"right\u202eto left":  `right\u202eto left`,
		"not UTF-8: \xff\x9b": `not UTF-8: \xff\x9b`,
	} {
		require.Equal(t, want, Printable(text))
	}
}

func TestNumbersForPeople(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0", 7: "7", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234", -100: "-100"} {
		assert.Equal(t, want, Grouped(n))
	}
	for s, want := range map[float64]string{0: "0 s", 0.004: "0 s", 0.254: "0.25 s", 9.5: "9.5 s", 59.6: "60 s", 600: "10 min", 10800: "3 h", 200000: "2 d"} {
		assert.Equal(t, want, Seconds(s))
	}
	assert.Equal(t, "é", Clip("éé", 3))
}

func TestPrintfCleansItsArguments(t *testing.T) {
	t.Parallel()
	type kind string
	var b strings.Builder
	require.NoError(t, Printf(&b, "%-6s|%s|%v|%s|%d|%.1f|%v|%v\n", "a\x1b", kind("b\n"), errors.New("c\t"), []byte("d\u202e"), 7, 1.5, []string{"e\r"}, true))
	require.NoError(t, Row(&b, "f\tg", "h\ni"))
	require.Equal(t, "a\\x1b |b\\n|c\\t|d\\u202e|7|1.5|[e\\r]|true\n"+"f\\tg\th\\ni\n", b.String())
	require.Equal(t, strings.Repeat("é", 148)+"...", Short(strings.Repeat("é", 200)))
	require.Equal(t, "short", Short("short"))
}

func TestJSONIsHarmlessAndMeansTheSame(t *testing.T) {
	t.Parallel()
	text := "a\x1b\u009b\u202e\u2066\x7f\U000e0001 \n\"<日😀>"
	for _, indent := range []string{"", "  "} {
		var b strings.Builder
		require.NoError(t, JSON(&b, map[string]any{text: text, "raw": json.RawMessage("{\n\"x\":\t\"\u202e\"}")}, indent))
		require.Equal(t, -1, strings.IndexFunc(b.String(), func(r rune) bool { return r != '\n' && harmful(r) }), b.String())
		require.Contains(t, b.String(), `\u001b\u009b\u202e\u2066\u007f\udb40\udc01 \n\"<日😀>`)
		var back map[string]any
		require.NoError(t, json.Unmarshal([]byte(b.String()), &back))
		require.Equal(t, map[string]any{text: text, "raw": map[string]any{"x": "\u202e"}}, back)
	}
	var b strings.Builder
	n, err := JSONWriter(&b).Write([]byte("\"\xff\u009b\"\n"))
	require.NoError(t, err)
	require.Equal(t, 6, n)
	require.Equal(t, `"\ufffd\u009b"`+"\n", b.String())
}
