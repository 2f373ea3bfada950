package cli_test

import (
	"os"
	"testing"

	"github.com/rouse-es/rouse/app"
	"github.com/rouse-es/rouse/internal/builtin"
	"github.com/rouse-es/rouse/internal/testdb"
)

func TestMain(m *testing.M) {
	if os.Getenv("ROUSE_TEST_AS_COMMAND") != "" {
		app.Main(builtin.App())
	}
	testdb.Main(m)
}
