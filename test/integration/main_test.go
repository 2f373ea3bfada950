// Package integration_test shows what Rouse promises, on a real PostgreSQL and with real worker processes: one file per
// promise.
package integration_test

import (
	"testing"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/test/process"
)

// roles are the parts that a child may play, each with its main function, which returns the exit code. Tests that kill their
// workers need processes, and this binary is the one that is there. A file adds its roles in an init function.
var roles = map[string]func() int{}

func TestMain(m *testing.M) {
	process.Play(roles)
	testdb.Main(m)
}
