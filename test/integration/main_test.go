// Package integration_test shows what Rouse promises, on a real PostgreSQL and with real worker processes: one file per
// promise.
package integration_test

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/rouse-es/rouse/internal/testdb"
)

// roleEnv names the part that a copy of this test binary plays. It is set for children only.
const roleEnv = "ROUSE_TEST_ROLE"

// roles are the parts that a child may play, each with its main function, which returns the exit code. Tests that kill their
// workers need processes, and this binary is the one that is there. A file adds its roles in an init function.
var roles = map[string]func() int{}

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		os.Exit(play(role))
	}
	testdb.Main(m)
}

func play(role string) int {
	run, ok := roles[role]
	if !ok {
		fmt.Fprintf(os.Stderr, "no role is named %s\n", role)
		return 2
	}
	return run()
}

// roleCommand is a copy of this binary in one of the roles, not started yet. env is added to this process's environment.
func roleCommand(t testing.TB, role string, env ...string) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(append(os.Environ(), env...), roleEnv+"="+role)
	return cmd
}
