//go:build unix

package integration_test

import (
	"bytes"
	"io"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/testdb"
)

// A dump that is restored on another server, whose transaction ids are far behind, is the same log: workers go on from the
// checkpoints in it, and what they have handled stays handled.
func TestDumpRestoredOnAnotherServerGoesOn(t *testing.T) {
	t.Parallel()
	dump, err := exec.LookPath("pg_dump")
	if err != nil {
		t.Skip("there is no pg_dump here, so nothing is said of dumps: install PostgreSQL's client programs")
	}
	source := testdb.Server(t, nil)
	old := newStage(t, testdb.On(t, source))
	w := old.start(old.pool(old.URL), rouse.Config{Projections: []rouse.Projection{recorder{name: "r", worker: "old"}}}).WaitStarted()
	dead, _ := old.open("a")
	require.NoError(t, dead.Rollback(old.ctx)) // a hole
	for range 20 {
		old.append(old.Pool, "a")
	}
	old.exact("r")
	last, _ := old.open("a")
	require.NoError(t, last.Rollback(old.ctx)) // positions beyond the last event
	w.MustStop()
	for range 30 {
		old.append(old.Pool, "b") // not handled yet
	}
	old.exec("do $$ begin for i in 1..20000 loop perform pg_current_xact_id(); commit; end loop; end $$")

	out := &bytes.Buffer{}
	cmd := exec.Command(dump, "--dbname", old.URL)
	cmd.Stdout = out
	require.NoError(t, cmd.Run())
	target := testdb.Server(t, nil)
	require.NoError(t, target.CreateDatabase(old.ctx, old.Name))
	fresh := &stage{DB: &testdb.DB{URL: target.URL(old.Name), Name: old.Name, Pool: old.pool(target.URL(old.Name))}, ctx: old.ctx, t: t}
	fresh.restore(out)
	require.Greater(t, old.int("select pg_current_xact_id()::text::bigint"), fresh.int("select pg_current_xact_id()::text::bigint")+10000,
		"the other server must be behind, or nothing is shown")

	w = fresh.start(fresh.pool(fresh.URL), rouse.Config{Projections: []rouse.Projection{recorder{name: "r", worker: "new"}}}).WaitStarted()
	fresh.exact("r")
	require.EqualValues(t, 20, fresh.int("select count(*) from seen where worker = 'old'"))
	slow, _ := fresh.open("c")
	fresh.append(fresh.Pool, "c2")
	require.NoError(t, slow.Commit(fresh.ctx))
	fresh.exact("r")
	require.EqualValues(t, 32, fresh.int("select count(*) from seen where worker = 'new'"))
	w.MustStop()
}

// restore runs a plain dump, which only psql can.
func (s *stage) restore(dump io.Reader) {
	s.t.Helper()
	program, err := exec.LookPath("psql")
	if err != nil {
		s.t.Skip("there is no psql here, so nothing is said of dumps: install PostgreSQL's client programs")
	}
	cmd := exec.Command(program, "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--dbname", s.URL)
	cmd.Stdin = dump
	output, err := cmd.CombinedOutput()
	require.NoError(s.t, err, "%s", output)
}
