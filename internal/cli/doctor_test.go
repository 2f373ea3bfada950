package cli

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/doctor"
	"github.com/rouse-es/rouse/internal/testdb"
)

func TestDoctorSaysOKToAHealthyDatabase(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	role := db.Name + "_worker"
	for _, sql := range []string{"create role " + role + " login password '" + testdb.Password + "'", "revoke connect on database " + db.Name + " from public",
		"grant connect on database " + db.Name + " to " + role, "grant pg_read_all_data, pg_write_all_data to " + role} {
		mustExec(t, db.Pool, sql)
	}
	t.Cleanup(func() { mustExec(t, db.Pool, "drop owned by "+role); mustExec(t, db.Pool, "drop role "+role) })
	db.URL = testdb.As(t, db.URL, role)
	out := mustRouse(t, db, "doctor")
	assert.True(t, strings.HasSuffix(out, "\nall is well\n"), out)
	for line := range strings.Lines(strings.TrimSuffix(out, "all is well\n")) {
		assert.Regexp(t, `^ok    \w`, line)
	}
	r := decode[doctor.Report](t, mustRouse(t, db, "doctor", "--json", "--listen-url", db.URL))
	assert.Zero(t, r.Failed+r.Warned)
	assert.Greater(t, len(r.Findings), 15)
	assert.Regexp(t, `(?m)^ok +positions +two sessions`, mustRouse(t, db, "doctor", "--append"))
}

// TestDoctorSaysWhatToDo: by a line and by the exit code, which warnings leave alone.
func TestDoctorSaysWhatToDo(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	mustRouse(t, db, "worker", "--once")
	assert.Regexp(t, `(?m)^warn  projections +no living worker runs .*\n +-> start a worker`, mustRouse(t, db, "doctor"))

	mustExec(t, db.Pool, "alter table events enable trigger rouse_append_before")
	r := runRouse(t, on(db), "doctor")
	assert.Equal(t, 7, r.code)
	assert.Regexp(t, `(?m)^fail  triggers +rouse_append_before .*\n +-> run: alter table events enable always trigger rouse_append_before$`, r.stdout)
	assert.Equal(t, "rouse: what fails has to be mended (see what is said to do)\n", r.stderr)
	r = runRouse(t, on(db), "doctor", "--json")
	assert.Equal(t, 7, r.code)
	assert.Equal(t, 1, decode[doctor.Report](t, r.stdout).Failed)
}

func TestDoctorExplainsWhatItCannotReachWithoutPasswords(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	address := closedPort(t)
	nowhere := "postgres://postgres:s3cret@" + address + "/x"
	for _, tc := range []struct {
		env   []string
		holds []string
	}{
		{[]string{"DATABASE_URL=" + nowhere}, []string{"fail  server", address, "-> is it running?"}},
		{append(on(db), "ROUSE_LISTEN_URL="+nowhere), []string{"ok    server", "fail  pooler", "fail  listen", "-> is it running?"}},
		{[]string{"DATABASE_URL=" + with(t, db.URL, func(u *url.URL) { u.Path = "/no_such_database" })}, []string{"no_such_database", "-> create it"}},
	} {
		r := runRouse(t, tc.env, "doctor")
		require.Equal(t, 7, r.code, r.stderr)
		for _, text := range tc.holds {
			assert.Contains(t, r.stdout, text)
		}
		assert.NotContains(t, r.stdout+r.stderr, "s3cret")
	}
	requireFault(t, runRouse(t, append(on(db), "ROUSE_LISTEN_URL=postgres://u:s3cret%zz@h/x"), "doctor"), exitUsage, "--listen-url")
}
