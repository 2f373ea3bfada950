package tenants_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/tenants"
	"github.com/rouse-es/rouse/internal/testdb"
)

func TestMain(m *testing.M) { testdb.Main(m) }

// A pattern means what it says: an underscore is one, and a name in quotes is that name.
func TestPatternsFindTheSchemasThatTheyMean(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	for _, schema := range []string{`tenant_1`, `tenant_2`, `tenant_10`, `tenantx1`, `Tenant_3`, `odd,"name`, `a%b`, `axb`, `a\b`, `star*`} {
		_, err := db.Pool.Exec(t.Context(), `do $$ begin execute format('create schema %I', '`+schema+`'); end $$`)
		require.NoError(t, err)
	}
	for list, want := range map[string][]string{
		"tenant_*":                      {"tenant_1", "tenant_10", "tenant_2"},
		"tenant_?":                      {"tenant_1", "tenant_2"},
		" tenant_2 ,tenant_1,tenant_? ": {"tenant_1", "tenant_2"},
		"?enant?1":                      {"tenant_1", "tenantx1"},
		"a%b":                           {"a%b"},
		"a%*":                           {"a%b"},
		`a\*`:                           {`a\b`},
		`"odd,""name",axb`:              {"axb", `odd,"name`},
		`"star*"`:                       {"star*"},
		`"tenant_*"`:                    {"tenant_*"},
		"nowhere":                       {"nowhere"},
		"nowhere*":                      nil,
		"Tenant*":                       {"Tenant_3"},
		"pg_*,information_schema*":      nil,
		"pub*":                          {"public"},
	} {
		p, err := tenants.Parse(list)
		require.NoError(t, err, list)
		found, err := p.Find(context.Background(), db.Pool)
		require.NoError(t, err, list)
		require.ElementsMatch(t, want, found, list)
	}
}

func TestListsThatCannotBeReadAreRefused(t *testing.T) {
	t.Parallel()
	for _, list := range []string{"", ",", "a,", ",a", "a,,b", `"a`, `"a"b`, `""`, `a"b`, "a\x00", "\xff", `"a" "b"`} {
		_, err := tenants.Parse(list)
		require.ErrorIs(t, err, tenants.ErrPattern, "%q", list)
	}
	for _, pattern := range []string{"", `a"b`} {
		_, err := tenants.Of(pattern)
		require.ErrorIs(t, err, tenants.ErrPattern, "%q", pattern)
	}
}
