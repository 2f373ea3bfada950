package cli

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/rouse-es/rouse/internal/testdb"
)

// What the verbs of a projection's life have done is said to programs too, one document each.
func TestTheLifeOfAProjectionInJSON(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	const name = "scalable_projection"
	mustRouse(t, db, "append", "--count", "20")
	mustRouse(t, db, "worker", "--once")
	done := func(args ...string) map[string]any {
		t.Helper()
		return decode[map[string]any](t, mustRouse(t, db, append(args, "--json")...))
	}
	type is = map[string]any
	assert.Equal(t, is{"projection": "orders", "behind": 10.0}, done("projection", "create", "orders", "--from", "10"))
	assert.Equal(t, is{"projection": "orders", "renamed_to": "sales"}, done("projection", "rename", "orders", "sales"))
	assert.Equal(t, is{"projection": "sales", "retired": true}, done("projection", "drop", "sales"))

	mustRouse(t, db, "projection", "rebuild", name, "--detach")
	assert.Equal(t, is{"projection": name, "build": name + "@rebuild"}, done("projection", "rebuild", name, "--cancel"))
	mustRouse(t, db, "projection", "rebuild", name, "--detach")
	assert.Equal(t, is{"projection": name + "@rebuild", "retired": false}, done("projection", "drop", name+"@rebuild"))

	for position, want := range map[string]any{"20": 20.0, "head": nil} {
		waited := done("wait", name, "--position", position)
		assert.Equal(t, name, waited["projection"])
		assert.Equal(t, want, waited["position"])
		assert.IsType(t, 0.0, waited["seconds"])
	}

	assert.Equal(t, is{"projection": name, "paused": true}, done("projection", "pause", name))
	assert.Equal(t, is{"projection": name, "behind": 5.0, "done": false}, done("projection", "reset", name, "--to", "5", "--wait", "0"))
	assert.Equal(t, is{"projection": name, "paused": false}, done("projection", "resume", name))
	mustRouse(t, db, "worker", "--once")
	mustRouse(t, db, "append", "--count", "1")
	assert.Equal(t, is{"projection": name, "position": 21.0}, done("projection", "skip", name, "--position", "21"))
}
