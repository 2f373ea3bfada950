package floors

import (
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestEveryTestBinaryLooksForGoroutines: each package with tests ends them with a look for goroutines that nobody waited for.
func TestEveryTestBinaryLooksForGoroutines(t *testing.T) {
	t.Parallel()
	root := moduleRoot(t)
	looks := map[string]bool{} // by folder with tests
	for _, file := range goFiles(t, root) {
		if !strings.HasSuffix(file, "_test.go") {
			continue
		}
		code, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
		require.NoError(t, err)
		looks[path.Dir(file)] = looks[path.Dir(file)] || looksForGoroutines(string(code))
	}
	require.NotEmpty(t, looks)
	for dir, does := range looks {
		assert.True(t, does, "the tests of %s do not look for goroutines that are left: give it a TestMain with testdb.Main or goleak.VerifyTestMain", dir)
	}
}

func looksForGoroutines(code string) bool {
	_, body, has := strings.Cut(code, "func TestMain(m *testing.M) {")
	return has && (strings.Contains(body, "testdb.Main(m") || strings.Contains(body, "goleak.VerifyTestMain(m") ||
		strings.Contains(code, "package testdb\n") && strings.Contains(body, "Main(m)"))
}
