package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/scaling"
	"github.com/rouse-es/rouse/internal/testdb"
)

// tenantsOf makes schemas and migrates them.
func tenantsOf(t *testing.T, db *testdb.DB, schemas ...string) {
	t.Helper()
	for _, schema := range schemas {
		mustExec(t, db.Pool, "create schema "+schema)
	}
	mustRouse(t, db, "migrate", "--schemas", strings.Join(schemas, ","))
}

// judged is the verdict over a schema.
func judged(t *testing.T, db *testdb.DB, schema string) scaling.Verdict {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(db.URL)
	require.NoError(t, err)
	cfg.MaxConns, cfg.ConnConfig.RuntimeParams["search_path"] = 1, schema
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	require.NoError(t, err)
	defer pool.Close()
	v, err := scaling.Judge(t.Context(), pool)
	require.NoError(t, err)
	return v
}

// results are what a verb has printed for each of --schemas.
func results[T any](t *testing.T, out string) map[string]T {
	t.Helper()
	all := map[string]T{}
	for dec := json.NewDecoder(strings.NewReader(out)); ; {
		var one struct {
			Schema string
			Result T
		}
		err := dec.Decode(&one)
		if err == io.EOF {
			return all
		}
		require.NoError(t, err, out)
		all[one.Schema] = one.Result
	}
}

func TestSchemas_OnceHandlesWhatIsThereInEach(t *testing.T) {
	t.Parallel()
	db := testdb.Empty(t)
	tenantsOf(t, db, "tenant_a", "tenant_b", "tenant_c", "other")
	for i, schema := range []string{"tenant_a", "tenant_b", "tenant_c"} {
		mustRouse(t, db, "append", "--schema", schema, "--count", fmt.Sprint(100*(i+1)), "--aggregates", "7")
	}
	mustExec(t, db.Pool, "alter table tenant_b.events disable trigger rouse_append_before")
	requireFault(t, runRouse(t, on(db), "worker", "--once", "--schemas", "tenant_?"), exitSchema, "schema tenant_b", "enable always trigger")
	assert.EqualValues(t, 100, judged(t, db, "tenant_a").Counted)
	assert.EqualValues(t, 300, judged(t, db, "tenant_c").Counted)
	mustExec(t, db.Pool, "alter table tenant_b.events enable always trigger rouse_append_before")
	require.Empty(t, mustRouse(t, db, "worker", "--once", "--schemas", "tenant_?"))
	for _, schema := range []string{"tenant_a", "tenant_b", "tenant_c"} {
		require.True(t, judged(t, db, schema).Complete(), schema)
	}
	require.Nil(t, value[*string](t, db.Pool, "select to_regclass('other.scaling_activity')::text"))
}

// Two processes share the partitions of each tenant; when one is killed, the other has all of each, and nothing is lost or done twice.
func TestSchemas_OneOfTwoProcessesIsKilled(t *testing.T) {
	t.Parallel()
	db := testdb.Empty(t)
	schemas := []string{"tenant_a", "tenant_b", "tenant_c"}
	tenantsOf(t, db, schemas...)
	labels := func(schema string) (n int) {
		return value[int](t, db.Pool, "select count(distinct m.instance_id) from "+schema+".projection_checkpoints c join "+schema+".rouse_members m on m.instance_id = c.owner where m.alive")
	}
	one := startRouse(t, on(db), "worker", "--schemas", "tenant_*", "--worker-id", "one")
	two := startRouse(t, append(on(db), "ROUSE_SCHEMAS=tenant_*"), "worker", "--worker-id", "two")
	for _, schema := range schemas {
		testdb.Eventually(t, processTimeout, "both processes to own partitions of "+schema, func() (bool, error) { return labels(schema) == 2, nil })
		mustRouse(t, db, "append", "--schema", schema, "--count", "200", "--aggregates", "20")
	}
	one.Signal(t, syscall.SIGKILL)
	for i, schema := range schemas {
		mustRouse(t, db, "append", "--schema", schema, "--count", fmt.Sprint(50*(i+1)), "--aggregates", "20")
	}
	for i, schema := range schemas {
		testdb.Eventually(t, processTimeout, "the other to own all of "+schema, func() (bool, error) {
			return value[int](t, db.Pool, "select count(*) from "+schema+".projection_checkpoints c join "+schema+".projection_workers w on w.instance_id = c.owner where w.label = 'two'") == 32, nil
		})
		testdb.Eventually(t, processTimeout, "everything of "+schema, func() (bool, error) {
			return judged(t, db, schema).Counted == int64(200+50*(i+1)), nil
		})
		require.True(t, judged(t, db, schema).Complete(), schema)
	}
	two.Signal(t, syscall.SIGTERM)
	require.Zero(t, two.Wait(t), two.Stderr.String())
}

func TestSchemas_OfStatusMigrateAndDoctor(t *testing.T) {
	t.Parallel()
	db := testdb.Empty(t)
	tenantsOf(t, db, "tenant_a", "tenant_b")
	mustRouse(t, db, "append", "--schema", "tenant_b", "--count", "5")
	out := mustRouse(t, db, "status", "--schemas", "tenant_*")
	assert.Regexp(t, `(?s)^schema tenant_a\nlast event at position 0\n.*\nschema tenant_b\nlast event at position 5\n`, out)
	reports := results[struct{ Head int64 }](t, mustRouse(t, db, "status", "--schemas", "tenant_*", "--json"))
	assert.EqualValues(t, 5, reports["tenant_b"].Head)
	assert.Len(t, reports, 2)

	mustExec(t, db.Pool, "create schema tenant_c")
	r := runRouse(t, on(db), "status", "--schemas", "tenant_*")
	assert.Equal(t, exitSchema, r.code, "the worst of all")
	assert.Contains(t, r.stderr, "schema tenant_c: ")
	assert.Contains(t, r.stdout, "schema tenant_b\nlast event", "the others are shown")
	migratedTo := results[migrated](t, mustRouse(t, db, "migrate", "--schemas", "tenant_*", "--json"))
	assert.Zero(t, migratedTo["tenant_a"].Applied)
	assert.Positive(t, migratedTo["tenant_c"].Applied)

	mustExec(t, db.Pool, "alter table tenant_b.events disable trigger rouse_append_before")
	r = runRouse(t, on(db), "doctor", "--schemas", "tenant_a,tenant_b")
	assert.Equal(t, exitFindings, r.code)
	assert.Contains(t, r.stderr, "schema tenant_b: ")
	assert.Contains(t, r.stdout, "schema tenant_a\n")

	requireFault(t, runRouse(t, on(db), "status", "--schemas", "nothing_*"), exitUsage, "no schema of the database matches")
	requireFault(t, runRouse(t, on(db), "status", "--schemas", "a,,b"), exitUsage, "--schemas", "names or patterns")
	for _, verb := range []string{"status", "worker", "migrate", "doctor"} {
		requireFault(t, runRouse(t, on(db), verb, "--schemas", "tenant_*", "--schema", "tenant_a"), exitUsage, "--schemas and --schema exclude each other")
	}
	requireFault(t, runRouse(t, on(db), "worker", "--schemas", `"open`), exitUsage, "a quote is not closed")
}

func TestSchemas_ServesHTTP(t *testing.T) {
	t.Parallel()
	db := testdb.Empty(t)
	tenantsOf(t, db, "tenant_a", "tenant_b")
	mustExec(t, db.Pool, `create schema "tenant_<odd> /%"`)
	get := served(t, startRouse(t, on(db), "worker", "--schemas", "tenant_*", "--http", "127.0.0.1:0"))
	var body string
	testdb.Eventually(t, processTimeout, "the group to be ready", func() (bool, error) {
		var code int
		code, body = get("/readyz", "")
		return code == http.StatusOK && !strings.Contains(body, "tenant_a") && !strings.Contains(body, "tenant_b"), nil
	})
	assert.Regexp(t, `^ok\nschema tenant_<odd> /%: its worker cannot run, .*rouse migrate`, body, "one that is broken takes nobody out of service, and is named")
	code, body := get("/healthz", "")
	assert.Equal(t, http.StatusOK, code, body)
	code, body = get("/", "")
	assert.Equal(t, http.StatusOK, code)
	assert.Contains(t, body, `<a href="schemas/tenant_a/">tenant_a</a>`)
	assert.Contains(t, body, `tenant_&lt;odd&gt; /%`, "names are no markup")
	code, body = get("/schemas/tenant_b/", "")
	assert.Equal(t, http.StatusOK, code)
	assert.Contains(t, body, "app.js")
	code, _ = get("/schemas/tenant_b/app.js", "")
	assert.Equal(t, http.StatusOK, code)
	code, _ = get("/schemas/public/", "")
	assert.Equal(t, http.StatusNotFound, code, "which is none of the group's")
	testdb.Eventually(t, processTimeout, "the metrics of the schemas", func() (bool, error) {
		_, body = get("/metrics", "")
		return strings.Contains(body, `rouse_lag_events{projection="scalable_projection",schema="tenant_a"} 0`), nil
	})
	assert.Contains(t, body, `rouse_worker_ready{schema="tenant_b"} 1`)
	assert.Contains(t, body, `rouse_worker_ready{schema="tenant_<odd> /%"} 0`)
	assert.NotContains(t, body, `partition="`)
}
