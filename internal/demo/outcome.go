package demo

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/rouse-es/rouse/internal/console"
)

// Outcome is the last thing that a demo prints. Its names in JSON are a promise to scripts.
type Outcome struct {
	Verdict
	P50 *float64 `json:"p50_ms"` // of the whole run without the first burst; null: nothing was handled
	P99 *float64 `json:"p99_ms"`

	// Steps are those of the walk that came to their end, and later ones that were not complete.
	Steps []StepResult `json:"stages"`

	// Kills is how often a worker was killed.
	Kills int `json:"kills"`

	// Right reports whether the read model agrees with the log and every step was complete.
	Right bool `json:"right"`

	// Kept is the address of the server or the name of the schema, if it stays.
	Kept string `json:"kept,omitempty"`
}

// judge prints the verdict, and returns ErrVerdict if it is negative. No worker runs any more. kept is the name of the place if
// it stays.
func (s *show) judge(ctx context.Context, kept string) error {
	v, err := Judge(ctx, s.pool)
	if err != nil {
		return err
	}
	latency, err := WholeLatency(ctx, s.pool, s.sampler.After)
	if err != nil {
		return err
	}
	failed := incomplete(s.results, s.Patience)
	out := Outcome{
		Verdict: v, P50: latency.P50, P99: latency.P99, Steps: append([]StepResult{}, s.results...), Kills: s.fleet.kills,
		Right: v.Right() && len(failed) == 0, Kept: kept,
	}
	switch err := s.printVerdict(out, failed); {
	case err != nil:
		return err
	case !v.Right():
		return ErrVerdict
	case len(failed) > 0:
		return ErrStep
	}
	return nil
}

// incomplete says which steps did not come to what they should in time.
func incomplete(results []StepResult, patience time.Duration) (failed []string) {
	for _, r := range results {
		if !r.Complete {
			failed = append(failed, fmt.Sprintf("%s %s: %s within %s", r.Worker, r.What, r.lacks(), patience))
		}
	}
	return failed
}

func (s *show) printVerdict(v Outcome, failed []string) error {
	if s.JSON {
		return console.JSON(s.Out, v, "")
	}
	word, style := "right", green
	if !v.Right {
		word, style = "WRONG", red
	}
	file, is := s.Out.(*os.File)
	word = styled(is && console.IsTerminal(file) && console.Colourful(), word, style)
	if err := printSteps(s.Out, s.results); err != nil {
		return err
	}
	if s.slowest != nil {
		if err := s.say("in all %d kills, slowest takeover after the walk %s", v.Kills, console.Seconds(*s.slowest)); err != nil {
			return err
		}
	}
	waited := ""
	if v.Kills > 0 {
		waited = ", with what waited for a worker"
	}
	if err := s.say("\nappended to handled: p50 %s, p99 %s%s", console.Milliseconds(v.P50), console.Milliseconds(v.P99), waited); err != nil {
		return err
	}
	counts := fmt.Sprintf("%s events appended, %s handled, %s lost, %s doubled, %s out of order, %s stray",
		console.Grouped(v.Appended), console.Grouped(v.Handled), console.Grouped(v.Lost), console.Grouped(v.Doubled), console.Grouped(v.OutOfOrder), console.Grouped(v.Stray))
	return s.say("verdict: %s: %s", word, strings.Join(append([]string{counts}, failed...), "; "))
}
