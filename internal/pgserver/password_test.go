//go:build unix

package pgserver

import (
	"bytes"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

// secret reads the password of a server out of its file.
func secret(t *testing.T, s *Server) string {
	t.Helper()
	line, err := os.ReadFile(s.passPath())
	require.NoError(t, err)
	password := strings.TrimSpace(strings.TrimPrefix(string(line), "*:*:*:postgres:"))
	require.GreaterOrEqual(t, len(password), 20)
	return password
}

// refused tries to come in.
func refused(t *testing.T, s *Server, user *url.Userinfo) {
	t.Helper()
	u, err := url.Parse(s.URL("postgres"))
	require.NoError(t, err)
	u.User, u.RawQuery = user, "sslmode=disable&passfile=/dev/null"
	_, err = pgx.Connect(t.Context(), u.String())
	var pgErr *pgconn.PgError
	require.ErrorAs(t, err, &pgErr)
	require.Equal(t, "28P01", pgErr.Code, pgErr.Message)
}

func TestNobodyComesInWithoutThePassword(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	s := start(t, Config{Settings: unsynced(), Log: zerolog.New(zerolog.SyncWriter(&log)).Level(zerolog.DebugLevel)})
	password := secret(t, s)
	require.NoError(t, s.exec(t.Context(), "create role guest login superuser"))
	b := standby(t, s)

	t.Run("WithoutOneOrWithAnother", func(t *testing.T) {
		for _, server := range []*Server{s, b} {
			refused(t, server, url.UserPassword("postgres", ""))
			refused(t, server, url.UserPassword("postgres", "postgres"))
			refused(t, server, url.UserPassword("guest", password))
		}
	})
	t.Run("WhoHasTheAddressComesIn", func(t *testing.T) {
		for _, server := range []*Server{s, b} {
			conn, err := pgx.Connect(t.Context(), server.URL("postgres"))
			require.NoError(t, err)
			require.NoError(t, conn.Close(t.Context()))
		}
	})
	t.Run("TheServerKeepsAHashOfItThatIsQuickToMake", func(t *testing.T) {
		require.Len(t, password, 26, "it has 130 random bits, or a quick hash would be too little")
		kept := value[string](t, s, "select rolpassword from pg_authid where rolname = 'postgres'")
		require.Regexp(t, `^SCRAM-SHA-256\$1000:`, kept)
	})
	t.Run("NobodyElseCanReadTheFile", func(t *testing.T) {
		for _, server := range []*Server{s, b} {
			info, err := os.Stat(server.passPath())
			require.NoError(t, err)
			require.EqualValues(t, 0o600, info.Mode().Perm())
			info, err = os.Stat(server.DataDir())
			require.NoError(t, err)
			require.EqualValues(t, 0o700, info.Mode().Perm())
		}
	})
	t.Run("AnotherUserOfTheMachineIsRefused", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("only root can become another user")
		}
		psql, err := exec.LookPath("psql")
		if err != nil {
			t.Skip("there is no psql here")
		}
		other, err := lookupAccount(user.Lookup("nobody"))
		require.NoError(t, err)
		cmd := exec.CommandContext(t.Context(), psql, "-w", "-X", "-c", "create table t (line text)", "-c", "copy t from program 'id'", s.URL("postgres"))
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "LC_ALL=C"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: other.uid, Gid: other.gid}}
		cmd.Dir = "/"
		out, err := cmd.CombinedOutput()
		require.Error(t, err)
		require.Contains(t, string(out), "no password supplied")
	})
	t.Run("ItIsInNoAddressAndNoCommandLineAndNoLog", func(t *testing.T) {
		require.NotContains(t, s.URL("postgres"), password)
		require.NotEmpty(t, processesMentioning(t, s.DataDir()))
		require.Empty(t, processesMentioning(t, password))
		require.NoError(t, b.Stop(t.Context()))
		require.NoError(t, s.Stop(t.Context())) // it writes no more
		require.NotEmpty(t, log.String())
		require.NotContains(t, log.String(), password)
	})
}

func TestEveryStartHasAPasswordOfItsOwn(t *testing.T) {
	t.Parallel()
	cfg := Config{DataDir: filepath.Join(sharedTemp(t), "data"), Settings: unsynced()}
	first, err := Start(t.Context(), cfg)
	require.NoError(t, err)
	before := secret(t, first)
	require.NoError(t, first.Stop(t.Context()))
	// Data of a server that let everybody in.
	require.NoError(t, os.WriteFile(filepath.Join(cfg.DataDir, "pg_hba.conf"), []byte("host all all 127.0.0.1/32 trust\n"), 0o600))

	second := start(t, cfg)
	require.NotEqual(t, before, secret(t, second))
	refused(t, second, url.UserPassword("postgres", before))
	require.Equal(t, 1, value[int](t, second, "select 1"))
}

func TestPasswordFileMayHaveAnyPath(t *testing.T) {
	temp := filepath.Join(sharedTemp(t), `it's "a" b&c?`)
	require.NoError(t, os.Mkdir(temp, 0o777))
	require.NoError(t, os.Chmod(temp, 0o777|os.ModeSticky))
	t.Setenv("TMPDIR", temp)
	s := start(t, Config{Settings: unsynced()})
	require.Equal(t, temp, filepath.Dir(s.DataDir()))
	require.NoError(t, s.exec(t.Context(), "create table t as select 1 as n"))
	follows(t, standby(t, s), 1)
	require.Equal(t, 1, value[int](t, s, "select 1"))
}
