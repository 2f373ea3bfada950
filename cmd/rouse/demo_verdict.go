package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/rouse-es/rouse/internal/demo"
)

// demoVerdict is the last thing that a demo prints. Its names in JSON are a promise to scripts.
type demoVerdict struct {
	demo.Verdict
	P50 *float64 `json:"p50_ms"` // of the whole run without the first burst; null: nothing was handled
	P99 *float64 `json:"p99_ms"`

	// Stages are those of the walk that came to their end, and later ones that were not complete.
	Stages []stageResult `json:"stages"`

	// Kills is how often a worker was killed.
	Kills int `json:"kills"`

	// Right tells whether the read model agrees with the log and every stage was complete.
	Right bool `json:"right"`

	// Kept is the address of the server or the name of the schema, if it stays.
	Kept string `json:"kept,omitempty"`
}

// judge prints the verdict, and returns errVerdict if it is negative. No worker runs any more. kept is the name of the place if
// it stays.
func (d *demoRun) judge(ctx context.Context, kept string) error {
	v, err := demo.Judge(ctx, d.pool)
	if err != nil {
		return err
	}
	latency, err := demo.WholeLatency(ctx, d.pool, d.sampler.After)
	if err != nil {
		return err
	}
	failed := d.incomplete()
	out := demoVerdict{
		Verdict: v, P50: latency.P50, P99: latency.P99, Stages: append([]stageResult{}, d.results...), Kills: d.fleet.kills,
		Right: v.Right() && len(failed) == 0, Kept: kept,
	}
	switch err := d.printVerdict(out, failed); {
	case err != nil:
		return err
	case !v.Right():
		return errVerdict
	case len(failed) > 0:
		return errStage
	}
	return nil
}

// incomplete says which stages did not come to what they should in time.
func (d *demoRun) incomplete() (failed []string) {
	for _, r := range d.results {
		if !r.Complete {
			failed = append(failed, fmt.Sprintf("%s %s: %s within %s", r.Worker, r.What, r.lacks(), d.flags.patience))
		}
	}
	return failed
}

func (d *demoRun) printVerdict(v demoVerdict, failed []string) error {
	if d.json {
		return json.NewEncoder(d.out).Encode(v)
	}
	word, style := "right", green
	if !v.Right {
		word, style = "WRONG", red
	}
	file, is := d.out.(*os.File)
	word = styled(is && isTerminal(file) && colourful(), word, style)
	if err := d.printStages(); err != nil {
		return err
	}
	if d.slowest != nil {
		if err := d.say("in all %d kills, slowest takeover after the walk %s", v.Kills, seconds(*d.slowest)); err != nil {
			return err
		}
	}
	waited := ""
	if v.Kills > 0 {
		waited = ", with what waited for a worker"
	}
	if err := d.say("\nappended to handled: p50 %s, p99 %s%s", milliseconds(v.P50), milliseconds(v.P99), waited); err != nil {
		return err
	}
	counts := fmt.Sprintf("%s events appended, %s handled, %s lost, %s doubled, %s out of order, %s stray",
		grouped(v.Appended), grouped(v.Handled), grouped(v.Lost), grouped(v.Doubled), grouped(v.OutOfOrder), grouped(v.Stray))
	return d.say("verdict: %s: %s", word, strings.Join(append([]string{counts}, failed...), "; "))
}
