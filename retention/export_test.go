package retention

import (
	"strings"
	"testing"
)

// Text is what is in an archive.
func Text(t *testing.T, path string) string {
	t.Helper()
	var b strings.Builder
	if _, err := scan(path, func(line []byte, _ *record) error { b.Write(line); return nil }); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
