// Package reliability_test breaks a running Rouse in every way that it is said to survive, at random and again and again, and
// then looks at what became of every single event. TestSoak is the short form of `make soak`,
// and TestSoakWithHostileHandlers that of `make soak HOSTILE=1`, in which handlers are broken too.
//
// The parts, from the outside in: a schedule, made from a seed alone, says which fault comes when. A fault is a value with
// Inject and Heal. The arena is what they are done to: one PostgreSQL server, worker processes with a proxy each in front of
// the server, and appenders. The appenders keep a record of what was acknowledged, outside the database. The watcher measures
// how long it takes until events are handled again. The judge compares the record with the log, with what was handled, and
// with the effects.
//
// A hostility says which events the handlers have trouble with, and which: by the seed and the event alone, and by a few files
// that outlive every process. At the end there is peace, and then everything that was set aside must be handled.
package reliability_test

import (
	"embed"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/test/process"
)

//go:embed sql/*.sql
var files embed.FS

// statement is one of the statements in sql.
func statement(name string) string {
	sql, err := files.ReadFile("sql/" + name + ".sql")
	if err != nil {
		panic(err)
	}
	return string(sql)
}

var (
	seedFlag     = flag.Uint64("seed", 0, "repeat the schedule of this seed; 0: that of ROUSE_SEED, else a new one")
	durationFlag = flag.Duration("duration", 0, "how long to inject faults; 0: the short form")
	paceFlag     = flag.Float64("pace", 1, "how close together the faults of a long form come: 1 for two to three a second, less for fewer")
	recordFlag   = flag.String("record", "", "the folder docs, to add the run to the page reliability.md; empty: nowhere")
	imageFlag    = flag.String("image", "", "run PostgreSQL in a container of this image; empty: the one of this machine")
	versionFlag  = flag.String("of", "dev", "the version to write into the record")
	logsFlag     = flag.String("logs", "", "a folder that the workers of a soak write their logs to, each into a file; empty: nowhere")
	writeFlag    = flag.Bool("write", false, "write the tables of reliability.md anew from the runs that are recorded")
)

func TestMain(m *testing.M) {
	process.Play(map[string]func() int{"worker": worker})
	// A link of the proxy that is closed while a toxic comes or goes may leave goroutines of its own behind.
	testdb.Main(m,
		goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2/toxics.(*ToxicStub).Run"),
		goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2.(*ToxicLink).read"),
		goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2.(*ToxicLink).write"))
}

// patience is how long anything may take after everything was healed, on a machine that is busy with other tests.
const patience = 2 * time.Minute

// chooseSeed is the seed that was asked for, or a new one. It is printed first, and with every failure.
func chooseSeed(t *testing.T) uint64 {
	t.Helper()
	seed := *seedFlag
	if text := os.Getenv("ROUSE_SEED"); seed == 0 && text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("ROUSE_SEED: %v", err)
		}
	}
	for seed == 0 {
		seed = rand.Uint64N(1 << 32)
	}
	fmt.Printf("seed %d\n", seed)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the seed was %d; ROUSE_SEED=%d repeats the schedule", seed, seed)
		}
	})
	return seed
}
