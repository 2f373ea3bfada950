package main

import (
	"testing"

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
		require.Equal(t, want, printable(text))
	}
}
