package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/scaling"
	"github.com/rouse-es/rouse/internal/testdb"
)

// hostile is a text as an enemy would put it into an event, an error or a label: colours, C1's CSI, marks of direction, and a line that
// pretends to be Rouse's own.
const hostile = "a\x1b[31m\u009b31m\u202e\u2066\u0085\r\nforged\tline\x7f"

// requireHarmless checks that an output steers no terminal and that none of its lines is forged. It reports whether the hostile text
// is in it at all.
func requireHarmless(t testing.TB, output string) (there bool) {
	t.Helper()
	require.True(t, utf8.ValidString(output))
	for line := range strings.Lines(output) {
		line = strings.TrimSuffix(line, "\n")
		require.Equal(t, -1, strings.IndexFunc(line, func(r rune) bool { return r != ' ' && !unicode.IsPrint(r) }), "%q", line)
		require.False(t, strings.HasPrefix(line, "forged"), "%q", line)
	}
	return strings.Contains(output, "forged")
}

// besieged is a database in which every text that others may choose is hostile. The events are parked.
func besieged(t testing.TB) *testdb.DB {
	t.Helper()
	db := testdb.New(t)
	payload, err := json.Marshal(hostile)
	require.NoError(t, err)
	raw := "{\n\n\"plain\": \"a\u009b31m\u202e\",\n\"forged\":\n" + string(payload) + "}"
	for version := range 3 {
		mustExec(t, db.Pool, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload, metadata)
			values ($1, $1, $2, $1, $3, $3)`, hostile, version+1, raw)
	}
	mustExec(t, db.Pool, "insert into projections (projection_name, partitions, state, last_error, error_position, error_at) values ($1, 1, 'stopped', $1, 1, now())", hostile)
	mustExec(t, db.Pool, "insert into projection_checkpoints (projection_name, partition) values ($1, 0)", hostile)
	mustExec(t, db.Pool, `insert into projection_workers (instance_id, label, assignment, host, pid, mode, states, avoids, lease_ttl_ms, max_partitions)
		values (gen_random_uuid(), $1, 'elastic', $1, 1, $1, jsonb_build_object($1::text, $1::text), jsonb_build_object($1::text, array[0]), 3600000, 1)`, hostile)
	mustExec(t, db.Pool, `insert into parked_events (projection_name, global_position, event_id, aggregate_type, aggregate_id, aggregate_version, event_type, slot, attempts, last_error)
		select $1, global_position, event_id, aggregate_type, aggregate_id, aggregate_version, event_type, slot, 3, $1 from events`, hostile)
	return db
}

// TestNoVerbLetsAnybodySteerTheTerminal: what is in the database, in a variable or in an argument comes out as text on its line.
func TestNoVerbLetsAnybodySteerTheTerminal(t *testing.T) {
	t.Parallel()
	db := besieged(t)
	for _, tc := range []struct {
		args  []string
		quiet bool // the hostile text is not in the output
	}{
		{args: []string{"status"}},
		{args: []string{"status", "--partitions"}},
		{args: []string{"doctor"}},
		{args: []string{"tail", "--from", "0", "--count", "3"}},
		{args: []string{"tail", "--from", "0", "--count", "3", "--payload"}},
		{args: []string{"parked", "list"}},
		{args: []string{"parked", "show", "--position", "1"}},
		{args: []string{"parked", "show", "--position", "1", "--payload"}},
		{args: []string{"parked", "retry", "--position", "1", "--projection", hostile}, quiet: true},
		{args: []string{"parked", "list", "--aggregate", hostile}},
		{args: []string{"projection", "list"}},
		{args: []string{"projection", "pause", hostile}},
		{args: []string{"projection", "resume", hostile}},
		{args: []string{"projection", "skip", hostile, "--position", "2"}},
		{args: []string{"projection", "reset", hostile, "--to", "0", "--force", "--wait", "1ms"}},
		{args: []string{"projection", "resize", hostile, "--partitions", "1"}},
		{args: []string{"projection", "pause", "no-" + hostile}},
		{args: []string{"projection", "resize", "no-" + hostile, "--partitions", "8"}},
		{args: []string{"tail", "--from", hostile}},
		{args: []string{"tail", "--listen-url", hostile}, quiet: true}, // it may hold a password
		{args: []string{"worker", "--once", "--worker-id", hostile}, quiet: true},
		{args: []string{"worker", "--once", "--worker-id", hostile, "--total-workers", "2"}},
		{args: []string{"worker", "--on-failure", hostile}},
		{args: []string{"worker", "--projection", hostile}},
		{args: []string{"worker", "--http", hostile}},
		{args: []string{"worker", "--log-level", hostile}},
		{args: []string{"worker", "--http", "127.0.0.1:0", "--http-token-file", hostile}},
		{args: []string{"dashboard", "--http", hostile}},
		{args: []string{"append", "--count", hostile}},
		{args: []string{"append", "--schema", hostile}, quiet: true},
		{args: []string{"status", "--schema", hostile}, quiet: true},
		{args: []string{"bench", hostile}},
		{args: []string{"demo", "--schema", hostile}},
		{args: []string{"--" + hostile}},
		{args: []string{hostile}},
	} {
		for _, data := range []string{"", "--json"} {
			t.Run(fmt.Sprintf("%.60q", strings.Join(append(tc.args, data), " ")), func(t *testing.T) {
				t.Parallel()
				db := db
				if tc.args[0] == "projection" || tc.args[0] == "parked" && tc.args[1] == "retry" {
					db = besieged(t) // it changes something
				}
				args := tc.args
				if data != "" {
					args = append([]string{data}, args...)
				}
				r := runRouse(t, on(db), args...)
				there := requireHarmless(t, r.stdout)
				there = requireHarmless(t, r.stderr) || there
				if !tc.quiet && (data == "" || r.stdout == "") {
					assert.True(t, there, "nothing was tried: %s%s", r.stdout, r.stderr)
				}
			})
		}
	}
	for _, variable := range []string{"ROUSE_HTTP", "ROUSE_LOG_LEVEL", "ROUSE_BATCH_SIZE", "ROUSE_ON_FAILURE", "TOTAL_WORKERS", "ROUSE_PROJECTION"} {
		t.Run(variable, func(t *testing.T) {
			t.Parallel()
			r := runRouse(t, append(on(db), variable+"="+hostile), "worker", "--once")
			require.Equal(t, exitUsage, r.code)
			require.True(t, requireHarmless(t, r.stderr), r.stderr)
		})
	}
}

// TestJSONMeansTheSame: what is escaped in --json is what was there, once it is read.
func TestJSONMeansTheSame(t *testing.T) {
	t.Parallel()
	db := besieged(t)
	var parked []struct {
		Projection string `json:"projection"`
		Error      string `json:"error"`
		ID         string `json:"aggregate_id"`
	}
	require.NoError(t, json.Unmarshal([]byte(mustRouse(t, db, "parked", "list", "--json")), &parked))
	require.Len(t, parked, 3)
	require.Equal(t, []string{hostile, hostile, hostile}, []string{parked[0].Projection, parked[0].Error, parked[0].ID})

	for line := range strings.Lines(mustRouse(t, db, "tail", "--from", "0", "--count", "3", "--payload", "--json")) {
		var event struct {
			Type    string            `json:"event_type"`
			Payload map[string]string `json:"payload"`
		}
		require.NoError(t, json.Unmarshal([]byte(line), &event), line)
		require.Equal(t, hostile, event.Payload["forged"])
		require.Equal(t, "a\u009b31m\u202e", event.Payload["plain"])
	}
}

// TestLastSentenceOfAStoppedWorkerIsHarmless: it quotes what the handler said, and that may quote the event.
func TestLastSentenceOfAStoppedWorkerIsHarmless(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	require.NoError(t, scaling.Ensure(t.Context(), db.Pool))
	mustExec(t, db.Pool, "alter table scaling_activity add constraint fails check (false) not valid")
	mustExec(t, db.Pool, `alter table scaling_activity rename constraint fails to "f`+strings.ReplaceAll(hostile, "a", "")+`"`)
	mustExec(t, db.Pool, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values ($1, $1, 1, $1, '{}')`, hostile)
	r := runRouse(t, on(db), "worker", "--once", "--on-failure", "stop", "--retries", "0")
	require.Equal(t, exitStopped, r.code, r.stderr)
	require.True(t, requireHarmless(t, r.stderr), r.stderr)
	require.Contains(t, r.stderr, "rouse: ")
}

// TestTailCutsWhatItPrints: an event that is older than the bounds may have a type of any length.
func TestTailCutsWhatItPrints(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	mustExec(t, db.Pool, "alter table events drop constraint events_event_type_length")
	mustExec(t, db.Pool, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 't', 'a', n, repeat('x', 5000000), '{}' from generate_series(1, 3) n`)
	out := mustRouse(t, db, "tail", "--from", "0", "--count", "3")
	require.Less(t, len(out), 3000)
	require.Contains(t, out, "xxx...")
}

// TestACrashIsNoFaultOfUsage: Go ends a program that has crashed with 2, after which a supervisor has to start it again.
func TestACrashIsNoFaultOfUsage(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	p := startRouse(t, on(db), "worker", "--http", "127.0.0.1:0")
	served(t, p)
	p.Signal(t, syscall.SIGQUIT) // as a panic would, with the stacks of all goroutines
	require.Equal(t, 2, p.Wait(t))
	require.NotEqual(t, 2, exitUsage)
	require.NotContains(t, exitCodeHelp(), "    2  ")
}
