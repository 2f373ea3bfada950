// Package deploy_test checks the files of deploy/ against the schemas of the programs that read them. It is a module of its
// own, so that those schemas are no part of what the product needs.
package deploy_test

import (
	"net/url"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// path is a path below the root of the checkout.
func path(parts ...string) string {
	return filepath.Join(append([]string{"..", ".."}, parts...)...)
}

// address checks the address of a database: it verifies the server, and holds no password.
func address(t *testing.T, text string) {
	t.Helper()
	u, err := url.Parse(text)
	require.NoError(t, err)
	assert.Equal(t, "postgres", u.Scheme)
	assert.NotEmpty(t, u.User.Username())
	_, has := u.User.Password()
	assert.False(t, has, "passwords are files")
	assert.Equal(t, "verify-full", u.Query().Get("sslmode"))
	assert.NotEmpty(t, u.Query().Get("sslrootcert"))
}
