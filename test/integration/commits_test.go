package integration_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/test/checkout"
)

func TestCommitMessageHook(t *testing.T) {
	t.Parallel()
	hook := filepath.Join(checkout.Root(t), "scripts", "commit-msg")
	for _, tc := range []struct{ name, message, fault string }{
		{"Sound", "partition: fence checkpoints by epoch\n\nThe owner may come back under the same name.\n", ""},
		{"TwoPackages", "listener, catchup: wake by slot\n\nWhy.\n", ""},
		{"ATypoNeedsNoBody", "docs: typo\n", ""},
		{"GitsOwn", "Merge branch 'x'\n", ""},
		{"NothingWritten", "\n# Please enter the commit message\n", ""},
		{"72CharactersCountedAsSuch", "docs: " + strings.Repeat("ü", 66) + "\n\nWhy.\n", ""},
		{"73Characters", "docs: " + strings.Repeat("u", 67) + "\n\nWhy.\n", "more than 72 characters"},
		{"NoPackage", "Fix the thing\n\nWhy.\n", "package and a colon"},
		{"NoBody", "partition: fence checkpoints by epoch\n", "no body"},
		{"TrailersAreNoBody", "partition: fence checkpoints by epoch\n\nSigned-off-by: A <a@example.org>\n", "no body"},
		{"CommentsAreNoBody", "partition: fence checkpoints by epoch\n# Changes to be committed\n# ------------------------ >8 ------------------------\n+diff\n", "no body"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "message")
			require.NoError(t, os.WriteFile(file, []byte(tc.message), 0o600))
			out, err := exec.CommandContext(t.Context(), "sh", hook, file).CombinedOutput()
			if tc.fault == "" {
				require.NoError(t, err, "%s", out)
				require.Empty(t, string(out))
				return
			}
			require.Error(t, err)
			require.Contains(t, string(out), tc.fault)
			require.Equal(t, 1, strings.Count(string(out), "\n"), "%s", out)
		})
	}
}
