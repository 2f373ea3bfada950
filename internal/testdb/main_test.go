package testdb

import (
	"os"
	"testing"
)

// childEnv makes the test binary another one, as a test of Main needs it.
const childEnv = "ROUSE_TEST_TESTDB_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) == "leak" {
		go func() { select {} }()
	}
	Main(m)
}
