package floors

// The rooms of the house. A package of this module that no row covers fails
// TestFloors: give it a row here, and think about the floor while doing so.
var rooms = []room{
	{path: "migrations", floor: 0},
	{path: "eventstore", floor: 0},
	{path: "listener", floor: 0},
	{path: "partition", floor: 0},

	{path: "catchup", floor: 1},
	{path: "parked", floor: 1},

	{path: "", floor: 2}, // the root package, which users import

	{path: "metrics", floor: 3},
	{path: "health", floor: 3},
	{path: "tracing", floor: 3},
	{path: "dashboard", floor: 3},
	{path: "relay", floor: 3},
	{path: "rousetest", floor: 3},

	{path: "cmd/rouse", floor: 4},
	{path: "examples/...", floor: 4},
	{path: "test/...", floor: 4},

	{path: "internal/pgserver", floor: beside},
	{path: "internal/testdb", floor: beside},
	{path: "internal/signal", floor: beside},
	{path: "internal/knownbad", floor: beside}, // faults for the tests to find
	{path: "internal/floors", floor: beside},
	{path: "internal/report", floor: beside},  // what status shows
	{path: "internal/doctor", floor: beside},  // what `rouse doctor` finds
	{path: "internal/scaling", floor: beside}, // the built-in projection
	{path: "internal/demo", floor: beside},    // what rouse demo shows
	{path: "internal/bench", floor: 3},        // what `rouse bench` measures, with real workers
}

// sideSteps lists the imports between two packages of floor 0 that are
// allowed although the floor forbids them. There may be one at most: a second
// one means that a package sits on the wrong floor.
var sideSteps = []sideStep{}

// unwanted are packages that users must not receive with the root package: no
// package of floors 0 to 2 may reach one, not even through other modules.
// A path covers everything below it.
var unwanted = []string{
	"github.com/ory/dockertest",
	"github.com/testcontainers",
	"github.com/docker",
	"github.com/moby",
	"github.com/spf13/cobra",
	"github.com/spf13/pflag",
	"github.com/prometheus",
	"go.opentelemetry.io",
	"github.com/exaring/otelpgx",
	"github.com/stretchr/testify",
	"go.uber.org/goleak",
	"github.com/Shopify/toxiproxy",
	"github.com/chromedp",
	"testing",
}

// helpers are packages made for tests and for trying things out, each with
// the rooms whose ordinary (non-test) code may import it. A path that begins
// with "./" belongs to this module; a path covers everything below it.
var helpers = []helper{
	// `rouse demo` and `rouse bench` bring their own PostgreSQL.
	{path: "./internal/pgserver", users: []string{"cmd/rouse", "test/...", "examples/...", "internal/testdb", "rousetest"}},
	{path: "./internal/testdb", users: []string{"test/...", "rousetest"}},
	{path: "./rousetest", users: []string{"test/...", "examples/..."}},
	{path: "testing", users: testRooms},
	{path: "net/http/httptest", users: testRooms},
	{path: "github.com/stretchr/testify", users: testRooms},
	{path: "go.uber.org/goleak", users: testRooms},
	{path: "github.com/ory/dockertest", users: testRooms},
	{path: "github.com/Shopify/toxiproxy", users: testRooms},
	{path: "github.com/chromedp", users: testRooms},
}

// testRooms exist to be used by tests, in this module or by its users.
var testRooms = []string{"test/...", "internal/testdb", "rousetest"}
