package bench

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMedian(t *testing.T) {
	t.Parallel()
	self := func(f float64) float64 { return f }
	assert.InDelta(t, 3, Median([]float64{9, 3, 1}, self), 0)
	assert.InDelta(t, 4, Median([]float64{9, 3, 1, 5}, self), 0)
	assert.InDelta(t, 7, Median([]float64{7}, self), 0)
}

func TestPercentiles(t *testing.T) {
	t.Parallel()
	var of []time.Duration
	for n := 101; n > 0; n-- {
		of = append(of, time.Duration(n)*time.Millisecond)
	}
	assert.Equal(t, Percentiles{P50: 51, P90: 91, P99: 100}, PercentilesOf(of))
}

// TestPgbenchIsToldTheAddress: by variables, so that no password is on its command line.
func TestPgbenchIsToldTheAddress(t *testing.T) {
	t.Parallel()
	told := func(address string) ([]string, bool) {
		cfg, err := pgx.ParseConfig(address)
		require.NoError(t, err)
		return pgbenchEnv(cfg, "here")
	}
	env, known := told("postgres://me:s3cret@db.example:6543/shop?sslmode=require&pool_max_conns=4")
	require.True(t, known)
	for _, want := range []string{"PGHOST=db.example", "PGPORT=6543", "PGUSER=me", "PGPASSWORD=s3cret", "PGDATABASE=shop",
		"PGSSLMODE=require", "PGOPTIONS=-c search_path=here"} {
		assert.Contains(t, env, want)
	}
	_, known = told("host=db.example dbname=shop")
	assert.False(t, known)
	_, known = told("postgres://db.example/shop?target_session_attrs=any")
	assert.False(t, known)
}
