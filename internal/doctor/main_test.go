package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/partition"
)

func TestMain(m *testing.M) { testdb.Main(m) }

const (
	patience   = 3 * time.Minute
	projection = "orders"

	// instance is that of the worker of a healthy database.
	instance = "01900000-0000-7000-8000-00000000000a"
	// other is that of another one.
	other = "01900000-0000-7000-8000-00000000000b"
)

// bundle is a database that the doctor looks at.
type bundle struct {
	*testdb.DB
	t   *testing.T
	cfg Config
}

// bare makes a database that nobody has worked in.
func bare(t *testing.T, db *testdb.DB) *bundle {
	t.Helper()
	b := &bundle{DB: db, t: t}
	pool, err := pgxpool.ParseConfig(testdb.As(t, db.URL, b.worker()))
	require.NoError(t, err)
	b.cfg = Config{Pool: pool, Explain: func(err error) string { return err.Error() }}
	return b
}

// worker makes a role that may read and write, and lets nobody else connect.
func (b *bundle) worker() string {
	b.t.Helper()
	role := b.Name + "_worker"
	b.exec("create role " + role + " login password '" + testdb.Password + "'")
	b.t.Cleanup(func() { b.exec("drop owned by " + role); b.exec("drop role " + role) })
	b.exec("grant pg_read_all_data, pg_write_all_data, pg_read_all_stats to " + role)
	b.exec("revoke connect on database " + b.Name + " from public")
	b.exec("grant connect on database " + b.Name + " to " + role)
	return role
}

// healthy makes a database with three events, and one living worker that owns the four partitions of a projection.
func healthy(t *testing.T, db *testdb.DB) *bundle {
	t.Helper()
	b := bare(t, db)
	_, err := partition.Ensure(t.Context(), db.Pool, projection, 4)
	require.NoError(t, err)
	b.member(partition.Member{Instance: instance, Label: "a", States: map[string]string{projection: "live"}})
	b.append(1, 3)
	b.exec("update projection_checkpoints set owner = $1::text::uuid, last_global_position = 3", instance)
	return b
}

func setup(t *testing.T) *bundle {
	t.Helper()
	return healthy(t, testdb.New(t))
}

func (b *bundle) exec(sql string, args ...any) {
	b.t.Helper()
	_, err := b.Pool.Exec(context.Background(), sql, args...)
	require.NoError(b.t, err, sql)
}

// append appends versions of one aggregate.
func (b *bundle) append(from, to int) {
	b.t.Helper()
	b.exec(appendSQL, from, to)
}

const appendSQL = `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
	select 'order', 'o-1', n, 'OrderPlaced', '{"secret": "s3cret"}' from generate_series($1::int, $2::int) n`

// member registers a worker, which stays alive however slow the test is.
func (b *bundle) member(m partition.Member) {
	b.t.Helper()
	if m.TTL == 0 {
		m.TTL = time.Hour
	}
	m.Host, m.PID, m.Mode = "host", 4711, "quiet"
	require.NoError(b.t, m.Heartbeat(b.t.Context(), b.Pool))
}

func (b *bundle) examine() Report {
	b.t.Helper()
	return Examine(b.t.Context(), b.cfg)
}

// unwell are the checks that did not say ok, each once, and everything that they said.
func unwell(r Report) (checks []string, said string) {
	var lines []string
	for _, f := range r.Findings {
		if f.Level == OK {
			continue
		}
		if !slices.Contains(checks, f.Check) {
			checks = append(checks, f.Check)
		}
		lines = append(lines, fmt.Sprintf("%s %s: %s -> %s", f.Level, f.Check, f.Text, f.Do))
	}
	return checks, strings.Join(lines, "\n")
}

// requireOnly checks that one check and no other is not ok, at a level, and that it says all of these.
func (b *bundle) requireOnly(r Report, check string, level Level, says ...string) {
	b.t.Helper()
	checks, said := unwell(r)
	require.Equal(b.t, []string{check}, checks, said)
	for _, f := range r.Findings {
		if f.Level != OK {
			require.Equal(b.t, level, f.Level, said)
			require.NotEmpty(b.t, f.Do, said)
		}
	}
	for _, text := range says {
		require.Contains(b.t, said, text)
	}
	require.NotContains(b.t, said, "s3cret")
	require.Equal(b.t, level == Fail, r.Failed > 0)
	require.Equal(b.t, level == Warn, r.Warned > 0)
}

// requireWell checks that everything is as it has to be.
func (b *bundle) requireWell() {
	b.t.Helper()
	r := b.examine()
	_, said := unwell(r)
	require.Empty(b.t, said)
	require.Zero(b.t, r.Failed+r.Warned)
}
