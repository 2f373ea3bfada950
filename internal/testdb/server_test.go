package testdb

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/scratch"
)

func TestGivenServer(t *testing.T) {
	t.Parallel()
	server := Server(t, nil)
	require.NoError(t, WithConn(t.Context(), server.URL("postgres"), func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "create role tester login createdb password '"+Password+"'")
		return err
	}))
	databases := func(t *testing.T, like string) (n int) {
		t.Helper()
		require.NoError(t, WithConn(t.Context(), server.URL("postgres"), func(ctx context.Context, conn *pgx.Conn) error {
			return conn.QueryRow(ctx, "select count(*) from pg_database where datname like $1", like).Scan(&n)
		}))
		return n
	}

	t.Run("IsUsedByARoleThatMayOnlyCreateDatabases", func(t *testing.T) {
		out, status := RunBinary(t, "(TestNew|TestEmptyHasNoSchema|TestDatabaseIsGoneAfterItsTest)", EnvURL+"="+As(t, server.URL("postgres"), "tester"))
		require.Zero(t, status, out)
		require.Contains(t, out, "--- PASS: TestDatabaseIsGoneAfterItsTest")
		require.Contains(t, out, fmt.Sprintf("the server of port %d\n", server.Port()))
		require.Zero(t, databases(t, "rouse%"), "nothing is left of the tests")
	})
	t.Run("ThatIsNotThereFailsTheTests", func(t *testing.T) {
		out, status := RunBinary(t, "TestNew", EnvURL+"=postgres://tester:geheim@127.0.0.1:1/postgres")
		require.Equal(t, 1, status, out)
		require.Contains(t, out, "--- FAIL: TestNew")
		require.NotContains(t, out, "geheim")
	})
	t.Run("ThatIsNoURLFailsTheTestsWithoutShowingIt", func(t *testing.T) {
		for _, bad := range []string{"host=127.0.0.1 password=geheim", "postgres://a:geheim@[::1", "http://geheim@x/"} {
			out, status := RunBinary(t, "TestNew", EnvURL+"="+bad)
			require.Equal(t, 1, status, out)
			require.Contains(t, out, "TEST_DATABASE_URL is not an address of a server (write it as postgres://user:password@host:port/database)")
			require.NotContains(t, out, "geheim")
		}
	})
}

func TestWithoutADatabaseTestsFail(t *testing.T) {
	t.Parallel()
	out, status := RunBinary(t, "TestNew", EnvURL+"=", scratch.EnvLastURL+"=", "ROUSE_PG_BIN=/nowhere")
	require.Equal(t, 1, status, out)
	require.Contains(t, out, "--- FAIL: TestNew")
	require.Contains(t, out, "there is no PostgreSQL for the tests: set TEST_DATABASE_URL to one")
}

func TestMainFailsWhenAGoroutineIsLeft(t *testing.T) {
	t.Parallel()
	out, status := RunBinary(t, "NoSuchTest", childEnv+"=leak")
	require.Equal(t, 1, status, out)
	require.Contains(t, out, "goroutines are left after the tests")

	out, status = RunBinary(t, "NoSuchTest")
	require.Zero(t, status, out)
}

func TestEventually(t *testing.T) {
	t.Parallel()
	t.Run("ReturnsAsSoonAsItIsTrue", func(t *testing.T) {
		n := 0
		r := Record(t, func(t testing.TB) {
			Eventually(t, time.Minute, "three", func() (bool, error) { n++; return n == 3, nil })
		})
		require.Empty(t, r.Failures)
		require.Equal(t, 3, n)
	})
	t.Run("LivesThroughErrors", func(t *testing.T) {
		n := 0
		r := Record(t, func(t testing.TB) {
			Eventually(t, time.Minute, "the server", func() (bool, error) {
				n++
				if n < 3 {
					return true, errors.New("refused")
				}
				return true, nil
			})
		})
		require.Empty(t, r.Failures)
		require.Equal(t, 3, n)
	})
	t.Run("FailsAtItsDeadlineWithTheLastError", func(t *testing.T) {
		r := Record(t, func(t testing.TB) {
			Eventually(t, 5*time.Millisecond, "the server", func() (bool, error) { return false, errors.New("refused") })
		})
		require.True(t, r.Ended)
		require.Equal(t, []string{"waited 5ms in vain for the server: refused"}, r.Failures)
	})
	t.Run("LooksOnceMoreAtTheDeadline", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			Eventually(t, 75*time.Millisecond, "the last moment", func() (bool, error) {
				return time.Since(start) >= 75*time.Millisecond, nil
			})
			require.Equal(t, 75*time.Millisecond, time.Since(start))
		})
	})
}
