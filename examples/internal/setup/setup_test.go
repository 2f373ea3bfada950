package setup

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWhichDatabase(t *testing.T) {
	for _, tc := range []struct {
		name      string
		env       map[string]string
		isDefault bool
		address   string
	}{
		{"nothing is set", nil, true, "postgres@localhost:5432/pupsourcing_example"},
		{"a variable that names no database", map[string]string{"PGAPPNAME": "x"}, true, "postgres@localhost:5432/pupsourcing_example"},
		{"DATABASE_URL", map[string]string{"DATABASE_URL": "postgres://me@h:1/d", "PGHOST": "other"}, false, "me@h:1/d"},
		{"PostgreSQL's own variables", map[string]string{"PGHOST": "h", "PGUSER": "me", "PGDATABASE": "d"}, false, "me@h:5432/d"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, variable := range os.Environ() {
				if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "PG") || name == "DATABASE_URL" {
					t.Setenv(name, "")
				}
			}
			for name, value := range tc.env {
				t.Setenv(name, value)
			}
			cfg, isDefault, err := config()
			require.NoError(t, err)
			require.Equal(t, tc.isDefault, isDefault)
			c := cfg.ConnConfig
			require.Equal(t, tc.address, c.User+"@"+where(c)+"/"+c.Database)
		})
	}
}
