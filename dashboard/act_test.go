package dashboard_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestActionsDoWhatTheCommandsDo(t *testing.T) {
	t.Parallel()
	b := setup(t, token)
	mustExec(t, b, "insert into projections (projection_name, partitions) values ('p', 1)")
	mustExec(t, b, "insert into projection_checkpoints (projection_name, partition) values ('p', 0)")
	mustExec(t, b, `insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 'a', '1', n, 'X', '{"n": 12345678901234567890}' from generate_series(1, 3) n`)
	mustExec(t, b, `insert into parked_events (projection_name, global_position, event_id, aggregate_type, aggregate_id, aggregate_version, slot, event_type)
		select 'p', global_position, event_id, aggregate_type, aggregate_id, aggregate_version, slot, event_type from events`)
	does := func(path, body, says string) {
		t.Helper()
		resp, answer := b.answer("POST", path, body, bearer(token))
		assert.Equal(t, 200, resp.StatusCode, answer)
		assert.Contains(t, answer, says)
	}
	does("/pause", `{"projection":"p"}`, "p is paused")
	assert.Equal(t, "paused", value[string](t, b, "select state from projections"))
	does("/resume", `{"projection":"p"}`, "p goes on")
	assert.Equal(t, "running", value[string](t, b, "select state from projections"))
	does("/retry", `{"projection":"p","position":2}`, "3 events will be handled again")
	assert.Equal(t, 1, value[int](t, b, "select count(due_at) from parked_events"), "the first of three")
	does("/discard", `{"projection":"p","position":1}`, "discarded")
	assert.Equal(t, 2, value[int](t, b, "select count(*) from parked_events"))
	does("/discard", `{"projection":"p","position":1}`, "not parked any more")

	resp, body := b.answer("GET", "/payload?position=1", "", bearer(token))
	assert.Equal(t, 200, resp.StatusCode)
	assert.Contains(t, body, "12345678901234567890", "a number is shown as it is")
	mustExec(t, b, "insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values ('a', '2', 1, 'X', to_json(repeat('x', 100000)))")
	_, body = b.answer("GET", "/payload?position=4", "", bearer(token))
	assert.Contains(t, body, `"cut":true`)
	assert.Less(t, len(body), 70000)
}

func TestActionsRefuseWhatTheyCannotUse(t *testing.T) {
	t.Parallel()
	b := setup(t, token)
	for path := range changes {
		assert.Equal(t, http.StatusBadRequest, b.status("POST", path, "", bearer(token)), path)
		assert.Equal(t, http.StatusBadRequest, b.status("POST", path, "{}", bearer(token)), path)
		assert.Equal(t, http.StatusBadRequest, b.status("POST", path, `{"projection":"p","position":-1}`, bearer(token)), path)
		assert.Equal(t, http.StatusBadRequest, b.status("POST", path, `{"projection":"`+strings.Repeat("p", 10<<10)+`"}`, bearer(token)), path)
	}
	assert.Equal(t, http.StatusNotFound, b.status("POST", "/pause", `{"projection":"nobody"}`, bearer(token)))
	assert.Equal(t, http.StatusBadRequest, b.status("POST", "/discard", `{"projection":"p"}`, bearer(token)), "not all of a projection by one click")
	assert.Equal(t, http.StatusBadRequest, b.status("GET", "/payload", "", bearer(token)))
	assert.Equal(t, http.StatusNotFound, b.status("GET", "/payload?position=7", "", bearer(token)))
}
