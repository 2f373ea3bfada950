package scratch

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rouse-es/rouse/internal/pgserver"
)

// childEnv makes this binary a process that takes a database and then does as it is told.
const childEnv = "SCRATCH_TEST_CHILD"

func TestMain(m *testing.M) {
	if what := os.Getenv(childEnv); what != "" {
		child(what)
		return
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(os.Exit))
}

// child takes two databases, prints their names, and ends as what says: "die" leaves all, "stop" stops, "wait" waits for the end of its input.
func child(what string) {
	for range 2 {
		db, err := Take(numbers)
		if err != nil {
			println(err.Error())
			os.Exit(1)
		}
		_, _ = os.Stdout.WriteString(db.Name + "\n")
	}
	switch what {
	case "stop":
		if err := Stop(); err != nil {
			println(err.Error())
			os.Exit(1)
		}
	case "wait":
		_, _ = os.Stdin.Read(make([]byte, 1))
	}
	os.Exit(0) // without a word to the server
}

var numbers = Template{Key: "numbers", Fill: func(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, "create table numbers as select 1 as n")
	return err
}}

// given starts a server, and has the variable name it. The tests of this package run one after the other, for there is one server.
func given(t *testing.T) *pgserver.Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	s, err := pgserver.Start(ctx, pgserver.Config{Settings: fast})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Stop(context.Background())) })
	t.Setenv(EnvURL, s.URL("postgres"))
	t.Cleanup(func() { require.NoError(t, Stop()) }) // before the server
	return s
}

// names are the databases of tests on a server.
func names(t *testing.T, s *pgserver.Server) (all []string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URL("postgres"))
	require.NoError(t, err)
	defer func() { require.NoError(t, closeConn(conn)) }()
	rows, err := conn.Query(t.Context(), "select datname::text from pg_database where datname like 'rousetest%' order by 1")
	require.NoError(t, err)
	all, err = pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	return all
}

func run(t *testing.T, what string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+what)
	return cmd
}

func TestTake_GivesCopiesThatAreAloneAndMakesMoreAhead(t *testing.T) {
	s := given(t)
	var taken []*Database
	for range 3 {
		db, err := Take(numbers)
		require.NoError(t, err)
		taken = append(taken, db)
		conn, err := connect(db.URL)
		require.NoError(t, err)
		var n int
		require.NoError(t, conn.QueryRow(t.Context(), "delete from numbers returning n").Scan(&n))
		require.Equal(t, 1, n)
		require.NoError(t, closeConn(conn))
	}
	for _, db := range taken {
		db.Drop()
	}
	next, err := Take(numbers)
	require.NoError(t, err)
	next.Drop()
	left := names(t, s)
	for _, db := range taken {
		require.NotContains(t, left, db.Name, "dropped when more were made ahead")
	}
	require.LessOrEqual(t, len(left), 1+1+ahead, "the template, what was given back last, and what was made ahead")
	require.NoError(t, Stop())
	require.Empty(t, names(t, s))
}

// A database that no test has given back, and a template that could not be filled, would stay for as long as no other process comes.
func TestStop_LeavesNothingOnAServerThatWasNamed(t *testing.T) {
	s := given(t)
	for range 2 {
		_, err := Take(numbers)
		require.NoError(t, err)
	}
	_, err := Take(Template{Key: "broken", Fill: func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "create tabel")
		return err
	}})
	require.Error(t, err)
	require.NotEmpty(t, names(t, s))
	require.NoError(t, Stop())
	require.Empty(t, names(t, s))
}

// A test may leave whatever it likes.
func TestDrop_WhoeverIsConnectedAndWhateverIsPrepared(t *testing.T) {
	s := given(t)
	_, err := Take(numbers)
	require.NoError(t, err)
	db, err := Take(numbers)
	require.NoError(t, err)
	conn, err := connect(db.URL)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "begin; create table a (); prepare transaction 'it''s'")
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "begin; create table b ()")
	require.NoError(t, err)
	db.Drop()
	next, err := Take(numbers) // and what is made for the next drops it
	require.NoError(t, err)
	next.Drop()
	require.NotContains(t, names(t, s), db.Name)
	_ = closeConn(conn) // which the server has ended
}

// A copy would have to wait for whoever is connected.
func TestTemplate_NobodyCanConnectToIt(t *testing.T) {
	given(t)
	_, err := Take(numbers)
	require.NoError(t, err)
	address, err := all.server.database(all.stocks[numbers.Key].name)
	require.NoError(t, err)
	_, err = connect(address)
	var pgErr *pgconn.PgError
	require.ErrorAs(t, err, &pgErr)
	require.Equal(t, "55000", pgErr.Code)
}

func TestTake_ByManyAtOnceGivesEachItsOwn(t *testing.T) {
	s := given(t)
	var takers sync.WaitGroup
	taken := make(chan *Database, 6)
	for range cap(taken) {
		takers.Go(func() {
			db, err := Take(numbers)
			if !assert.NoError(t, err) {
				return
			}
			taken <- db
		})
	}
	takers.Wait()
	close(taken)
	its := map[string]bool{}
	for db := range taken {
		its[db.Name] = true
		require.NoError(t, db.Remove())
		require.NotContains(t, names(t, s), db.Name, "gone at once")
	}
	require.Len(t, its, cap(taken))
}

func TestWhileInUse_WaitsForOneWhoIsConnected(t *testing.T) {
	s := given(t)
	require.NoError(t, s.CreateDatabase(t.Context(), "busy"))
	busy, err := connect(s.URL("busy"))
	require.NoError(t, err)
	conn, err := connect(s.URL("postgres"))
	require.NoError(t, err)
	defer func() { require.NoError(t, closeConn(conn)) }()
	attempts := 0
	require.NoError(t, whileInUse(func() error {
		attempts++
		if attempts == 2 { // after the first refusal
			require.NoError(t, closeConn(busy))
		}
		_, err := conn.Exec(t.Context(), "create database copy template busy")
		return err
	}))
	require.GreaterOrEqual(t, attempts, 2)
}

func TestDatabase_KeepsTheRestOfTheAddress(t *testing.T) {
	got, err := server{address: "postgresql://u:p@h:1/old?sslmode=disable&x=y"}.database("new")
	require.NoError(t, err)
	require.Equal(t, "postgresql://u:p@h:1/new?sslmode=disable&x=y", got)
}

func TestSweep_RemovesWhatTheDeadHaveLeftAndNothingOfTheLiving(t *testing.T) {
	s := given(t)
	living := run(t, "wait")
	in, err := living.StdinPipe()
	require.NoError(t, err)
	out, err := living.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, living.Start())
	var said [200]byte
	n, err := out.Read(said[:])
	require.NoError(t, err)
	first, _, _ := strings.Cut(string(said[:n]), "\n")

	left, err := run(t, "die").Output()
	require.NoError(t, err)
	require.Subset(t, names(t, s), strings.Fields(string(left)))
	untilGone(t, s, strings.Fields(string(left))...)
	require.Contains(t, names(t, s), first)
	require.NoError(t, in.Close())
	require.NoError(t, living.Wait())
	untilGone(t, s, first)
}

// untilGone starts processes, each of which removes what the dead have left, until the databases are gone. The server needs a moment to
// notice that a process has died.
func untilGone(t *testing.T, s *pgserver.Server, databases ...string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		_, err := run(t, "stop").Output()
		require.NoError(t, err)
		left := 0
		for _, name := range names(t, s) {
			if slices.Contains(databases, name) {
				left++
			}
		}
		if left == 0 {
			return
		}
		require.True(t, time.Now().Before(deadline), "%d databases are left", left)
	}
}

func TestServer_WithoutOneTheSentenceSaysWhatToDo(t *testing.T) {
	s := given(t)
	for says, env := range map[string][]string{
		"set TEST_DATABASE_URL to one on which the role may create databases": {EnvURL, "", EnvLastURL, ""},
		"TEST_DATABASE_URL is not an address of a server":                     {EnvURL, "host=x password=geheim", EnvLastURL, ""},
		"the PostgreSQL of TEST_DATABASE_URL cannot be used":                  {EnvURL, "postgres://me:geheim@127.0.0.1:1/x", EnvLastURL, ""},
		"the PostgreSQL of DATABASE_URL cannot be used":                       {EnvURL, "", EnvLastURL, "postgres://me:geheim@127.0.0.1:1/x"},
	} {
		t.Setenv("ROUSE_PG_BIN", "/nowhere")
		t.Setenv(env[0], env[1])
		t.Setenv(env[2], env[3])
		require.NoError(t, Stop())
		_, err := Take(numbers)
		require.ErrorContains(t, err, says)
		require.NotContains(t, err.Error(), "geheim")
		_, again := Take(numbers)
		require.Equal(t, err, again, "nothing is tried again")
	}
	require.NoError(t, Stop())
	t.Setenv(EnvLastURL, s.URL("postgres"))
	t.Setenv(EnvURL, "")
	_, err := Take(numbers)
	require.NoError(t, err, "DATABASE_URL comes last")
	require.NotEmpty(t, names(t, s))
}
