//go:build unix

package pgserver

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// start runs a server that the end of the test stops.
func start(t *testing.T, cfg Config) *Server {
	t.Helper()
	s, err := Start(t.Context(), cfg)
	require.NoError(t, err)
	stopAtCleanup(t, s)
	return s
}

func stopAtCleanup(t *testing.T, s *Server) {
	t.Cleanup(func() { require.NoError(t, s.Stop(context.Background())) })
}

// unsynced are the settings of tests that do not care about the disk.
func unsynced() map[string]string { return map[string]string{"fsync": "off"} }

func connect(t *testing.T, s *Server) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := s.connect(ctx)
	require.NoError(t, err)
	t.Cleanup(func() { _ = closeConn(context.Background(), conn) }) // the test may have killed it
	return conn
}

// value runs a query for one value on a connection of its own.
func value[T any](t *testing.T, s *Server, sql string, args ...any) (v T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := s.connect(ctx)
	require.NoError(t, err)
	require.NoError(t, conn.QueryRow(ctx, sql, args...).Scan(&v))
	require.NoError(t, closeConn(ctx, conn))
	return v
}

// eventually polls until ok, for what no signal announces.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		require.True(t, time.Now().Before(deadline), "in vain waited for %s", what)
		<-time.After(10 * time.Millisecond)
	}
}

// testBase is where every user can make folders. It is found before a test
// changes TMPDIR.
var testBase = func() string {
	acc, err := serverAccount("")
	if err != nil {
		panic(err)
	}
	dir, err := acc.temporaryBase()
	if err != nil {
		panic(err)
	}
	return dir
}()

// sharedTemp is a temporary folder that every user can make folders in, such as
// /tmp. (Those of t.TempDir are for one user only.)
func sharedTemp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(testBase, "pgserver-test-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o777|os.ModeSticky))
	return dir
}

func TestStart(t *testing.T) {
	t.Parallel()
	s := start(t, Config{Settings: map[string]string{"work_mem": "5MB", "MAX_CONNECTIONS": "77"}})

	t.Run("ListensOnTheLocalAddressOnly", func(t *testing.T) {
		require.Equal(t, "127.0.0.1", value[string](t, s, "show listen_addresses"))
		require.Empty(t, value[string](t, s, "show unix_socket_directories"))
	})
	t.Run("SettingsGoOnTopOfTheDefaults", func(t *testing.T) {
		require.Equal(t, "5MB", value[string](t, s, "show work_mem"))
		require.Equal(t, "77", value[string](t, s, "show max_connections"))
		require.Equal(t, "20", value[string](t, s, "show max_prepared_transactions"))
		require.Equal(t, "on", value[string](t, s, "show fsync"), "durable unless asked otherwise")
	})
	t.Run("TheRoleIsASuperuser", func(t *testing.T) {
		require.True(t, value[bool](t, s, "select rolsuper from pg_roles where rolname = current_user"))
	})
	t.Run("MajorIsThatOfTheServer", func(t *testing.T) {
		require.Equal(t, s.Major(), value[int](t, s, "select current_setting('server_version_num')::int / 10000"))
	})
	t.Run("DatabasesAreUTF8WhateverTheirName", func(t *testing.T) {
		const name = `näme "with" all/of it?&%20`
		require.NoError(t, s.CreateDatabase(t.Context(), name))
		conn, err := pgx.Connect(t.Context(), s.URL(name))
		require.NoError(t, err)
		defer func() { require.NoError(t, conn.Close(context.Background())) }()
		var got, encoding string
		require.NoError(t, conn.QueryRow(t.Context(),
			"select datname, pg_encoding_to_char(encoding) from pg_database where datname = current_database()").Scan(&got, &encoding))
		require.Equal(t, name, got)
		require.Equal(t, "UTF8", encoding)
	})
}

func TestStartIgnoresTheEnvironmentOfLibpq(t *testing.T) {
	t.Setenv("PGDATA", "/nowhere")
	t.Setenv("PGPORT", "1")
	t.Setenv("PGHOST", "192.0.2.1")
	t.Setenv("PGUSER", "nobody-here")
	t.Setenv("PGDATABASE", "nothing")
	t.Setenv("PGOPTIONS", "-c nonsense=1x")
	t.Setenv("LC_ALL", "xx_YY.nonsense")
	for _, v := range []struct{ name, value string }{
		{"PGSERVICE", "nobody-here"}, {"PGSERVICEFILE", "/nowhere"}, {"PGPASSFILE", "/nowhere"}, {"PGPASSWORD", "wrong"},
		{"PGCONNECT_TIMEOUT", "soon"}, {"PGTARGETSESSIONATTRS", "standby"}, {"PGTZ", "nowhere"},
		{"PGSSLMODE", "verify-full"}, {"PGSSLCERTMODE", "nonsense"}, {"PGSSLCERT", "/nowhere"}, {"PGSSLKEY", "/nowhere"},
		{"PGSSLROOTCERT", "/nowhere"}, {"PGSSLNEGOTIATION", "direct"}, {"PGCHANNELBINDING", "require"}, {"PGREQUIREAUTH", "scram-sha-256"},
		{"PGMINPROTOCOLVERSION", "3.2"}, {"PGMAXPROTOCOLVERSION", "nonsense"},
	} {
		t.Setenv(v.name, v.value)
	}
	s, err := Start(t.Context(), Config{Settings: unsynced()})
	require.NoError(t, err)
	require.NoError(t, s.Stop(t.Context()))
}

func TestStartFails(t *testing.T) {
	temp := sharedTemp(t)
	t.Setenv("TMPDIR", temp)
	cleanedUp := func(t *testing.T) {
		t.Helper()
		left, err := os.ReadDir(temp)
		require.NoError(t, err)
		require.Empty(t, left, "temporary folders are left")
		require.Empty(t, processesMentioning(t, temp))
	}

	t.Run("WithTheReasonThatPostgresGave", func(t *testing.T) {
		_, err := Start(t.Context(), Config{Settings: map[string]string{"shared_buffers": "plenty"}})
		require.ErrorContains(t, err, `invalid value for parameter "shared_buffers": "plenty"`)
		cleanedUp(t)
	})
	t.Run("WhenThePortIsTaken", func(t *testing.T) {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		require.NoError(t, err)
		defer func() { require.NoError(t, l.Close()) }()
		port := l.Addr().(*net.TCPAddr).Port
		_, err = Start(t.Context(), Config{Port: port, Settings: unsynced()})
		require.ErrorContains(t, err, "port "+strconv.Itoa(port))
		require.ErrorContains(t, err, "Address already in use")
		cleanedUp(t)
	})
	t.Run("WhenAnotherServerAnswersOnThePort", func(t *testing.T) {
		other := start(t, Config{DataDir: filepath.Join(sharedTemp(t), "data"), Settings: unsynced()})
		_, err := Start(t.Context(), Config{Port: other.Port(), Settings: unsynced()})
		require.ErrorContains(t, err, "Address already in use")
		require.NoError(t, other.ping(t.Context()), "the other server is unharmed")
		cleanedUp(t)
	})
	t.Run("WhenTheContextEnds", func(t *testing.T) {
		for _, after := range []time.Duration{0, 20 * time.Millisecond, 300 * time.Millisecond} {
			ctx, cancel := context.WithTimeout(t.Context(), after)
			_, err := Start(ctx, Config{Settings: unsynced()})
			cancel()
			require.ErrorIs(t, err, context.DeadlineExceeded)
			cleanedUp(t)
		}
	})
	t.Run("WithAllFaultsOfTheConfigurationAtOnce", func(t *testing.T) {
		_, err := Start(t.Context(), Config{Port: 70000, Settings: map[string]string{"port": "1", "a b": "c", "-c": "d"}})
		for _, part := range []string{"70000", `"port"`, `"a b"`, `"-c"`} {
			require.ErrorContains(t, err, part)
		}
		cleanedUp(t)
	})
}

func TestDataDir(t *testing.T) {
	t.Parallel()
	t.Run("KeepsTheDataBetweenServers", func(t *testing.T) {
		dir := filepath.Join(sharedTemp(t), "not", "yet", "there")
		cfg := Config{DataDir: dir, Settings: unsynced()}
		first, err := Start(t.Context(), cfg)
		require.NoError(t, err)
		require.NoError(t, first.exec(t.Context(), "create table kept as select 7 as n"))
		require.NoError(t, first.Stop(t.Context()))

		second := start(t, cfg)
		require.Equal(t, 7, value[int](t, second, "select n from kept"))

		_, err = Start(t.Context(), cfg)
		require.ErrorContains(t, err, "postmaster.pid", "one server per data folder")
		require.Equal(t, 7, value[int](t, second, "select n from kept"))
	})
	t.Run("RefusesAFolderWithOtherFiles", func(t *testing.T) {
		dir := sharedTemp(t)
		file := filepath.Join(dir, "thesis.txt")
		require.NoError(t, os.WriteFile(file, []byte("years of work"), 0o600))
		_, err := Start(t.Context(), Config{DataDir: dir})
		require.ErrorContains(t, err, "no PostgreSQL data")
		require.FileExists(t, file)
	})
	t.Run("RefusesDataOfAnotherVersion", func(t *testing.T) {
		dir := sharedTemp(t)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "PG_VERSION"), []byte("9\n"), 0o600))
		bin, err := find(t.Context(), nil, "", 0)
		require.NoError(t, err)
		_, err = Start(t.Context(), Config{DataDir: dir, BinDir: bin.dir})
		require.ErrorContains(t, err, fmt.Sprintf("made by PostgreSQL 9, but %s holds %d", bin.dir, bin.major))
	})
	t.Run("RefusesAFolderThatOnlyRootCanEnter", func(t *testing.T) {
		if os.Geteuid() != 0 {
			return // for others PostgreSQL runs as themselves
		}
		closed := filepath.Join(t.TempDir(), "closed")
		require.NoError(t, os.Mkdir(closed, 0o700))
		_, err := Start(t.Context(), Config{DataDir: filepath.Join(closed, "data")})
		require.ErrorContains(t, err, "outside folders that only root can enter")
	})
}

func TestTemporaryDataAvoidFoldersThatOnlyRootCanEnter(t *testing.T) {
	closed := filepath.Join(t.TempDir(), "closed")
	require.NoError(t, os.Mkdir(closed, 0o700))
	t.Setenv("TMPDIR", closed)
	s := start(t, Config{Settings: unsynced()})
	require.Equal(t, os.Geteuid() == 0, filepath.Dir(s.DataDir()) != closed)
}
