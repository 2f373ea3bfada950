package main

import (
	"context"
	"encoding/json"
	"os"

	"github.com/rouse-es/rouse/internal/demo"
)

// demoVerdict is the last thing that a demo prints. Its names in JSON are a promise to scripts.
type demoVerdict struct {
	demo.Verdict
	P50   *float64 `json:"p50_ms"` // of the whole run without the first burst; null: nothing was handled
	P99   *float64 `json:"p99_ms"`
	Right bool     `json:"right"`

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
	if err := d.printVerdict(demoVerdict{Verdict: v, P50: latency.P50, P99: latency.P99, Right: v.Right(), Kept: kept}); err != nil {
		return err
	}
	if !v.Right() {
		return errVerdict
	}
	return nil
}

func (d *demoRun) printVerdict(v demoVerdict) error {
	if d.json {
		return json.NewEncoder(d.out).Encode(v)
	}
	word, style := "right", green
	if !v.Right {
		word, style = "WRONG", red
	}
	file, is := d.out.(*os.File)
	word = styled(is && isTerminal(file) && colourful(), word, style)
	waited := ""
	if d.fleet.killed > 0 {
		waited = ", with what waited for the killed worker"
	}
	if err := d.say("\nappended to handled: p50 %s, p99 %s%s", milliseconds(v.P50), milliseconds(v.P99), waited); err != nil {
		return err
	}
	return d.say("verdict: %s: %s events appended, %s handled, %s lost, %s doubled, %s out of order, %s stray",
		word, grouped(v.Appended), grouped(v.Handled), grouped(v.Lost), grouped(v.Doubled), grouped(v.OutOfOrder), grouped(v.Stray))
}
