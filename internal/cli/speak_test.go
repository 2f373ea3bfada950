package cli

import (
	"io"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
)

// TestAdviceIsWhatPeopleCanType: commands in sentences are those of the program, where it has the verb, and nothing else is touched.
func TestAdviceIsWhatPeopleCanType(t *testing.T) {
	t.Parallel()
	e := newEnv(Program{Name: "shop", WorkerVerb: "projection-worker"}, io.Discard, io.Discard)
	e.learn(rootCommand(e))
	below := newEnv(Program{Name: "events"}, io.Discard, io.Discard)
	command := rootCommand(below)
	(&cobra.Command{Use: "acme"}).AddCommand(command)
	below.learn(command)
	own := newEnv(ofTest(), io.Discard, io.Discard)
	own.learn(rootCommand(own))
	for said, want := range map[string][2]string{
		"(run rouse migrate)":             {"(run shop migrate)", "(run acme events migrate)"},
		"as rouse worker --http does":     {"as shop projection-worker --http does", "as acme events worker --http does"},
		"rouse projection list shows it":  {"shop projection list shows it", "acme events projection list shows it"},
		"see rouse\nstatus for more":      {"see shop\nstatus for more", "see acme events\nstatus for more"},
		"see rouse demo --help":           {"see rouse demo --help", "see rouse demo --help"},
		"the schema rouse is there":       {"the schema rouse is there", "the schema rouse is there"},
		"implement rouse.Tabled":          {"implement rouse.Tabled", "implement rouse.Tabled"},
		`of "rouse worker web-1", idle`:   {`of "rouse worker web-1", idle`, `of "rouse worker web-1", idle`},
		"rouse status; rouse status":      {"shop status; shop status", "acme events status; acme events status"},
		"warehouse status, carouse tails": {"warehouse status, carouse tails", "warehouse status, carouse tails"},
	} {
		assert.Equal(t, want[0], e.speak(said))
		assert.Equal(t, want[1], below.speak(said))
		assert.Equal(t, said, own.speak(said))
	}
}
