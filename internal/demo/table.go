package demo

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/rouse-es/rouse/internal/console"
)

// times says how long it took until things were as they should be.
func (r StepResult) times() string {
	var parts []string
	switch {
	case r.TakeoverSeconds != nil:
		parts = append(parts, fmt.Sprintf("the first event of its partitions elsewhere after %s", console.Seconds(*r.TakeoverSeconds)))
	case r.TakeoverLimit != nil && r.Complete:
		parts = append(parts, "no event came for its partitions")
	case r.TakeoverLimit != nil:
		parts = append(parts, "no event of its partitions elsewhere")
	}
	if r.PlannedSeconds == nil {
		return strings.Join(append(parts, "partitions "+r.had()+" and not as planned"), ", ")
	}
	return strings.Join(append(parts, fmt.Sprintf("partitions %s after %s", r.had(), console.Seconds(*r.PlannedSeconds))), ", ")
}

// lacks says what did not come about.
func (r StepResult) lacks() string {
	if r.PlannedSeconds == nil {
		return "the partitions were not as planned"
	}
	return "nobody took over"
}

// had is how many partitions each had.
func (r StepResult) had() string {
	if r.Workers == 0 {
		return "unowned"
	}
	return counts(r.Partitions)
}

// expected is what a step should lead to.
func (r StepResult) expected() string {
	parts := []string{counts(r.ExpectedPartitions)}
	if r.Workers == 0 {
		parts[0] = "unowned"
	}
	if r.ExpectedPercent != nil {
		parts = append(parts, fmt.Sprintf("%.0f %%", *r.ExpectedPercent))
	}
	if r.TakeoverLimit != nil {
		parts = append(parts, "taken over in "+console.Seconds(*r.TakeoverLimit))
	}
	return strings.Join(parts, ", ")
}

// seen is what a step has led to.
func (r StepResult) seen() string {
	parts := []string{r.had()}
	if r.PlannedSeconds != nil {
		parts[0] += " after " + console.Seconds(*r.PlannedSeconds)
	} else {
		parts[0] += ", not as planned"
	}
	if len(r.SharesPercent) > 0 {
		share := percents(r.SharesPercent)
		if r.sharesOff() {
			share += " (off)"
		}
		parts = append(parts, share)
	}
	switch {
	case r.late():
		parts = append(parts, "taken over in "+console.Seconds(*r.TakeoverSeconds)+" (late)")
	case r.TakeoverSeconds != nil:
		parts = append(parts, "taken over in "+console.Seconds(*r.TakeoverSeconds))
	case r.TakeoverLimit != nil && r.Complete:
		parts = append(parts, "no event came for it")
	case r.TakeoverLimit != nil:
		parts = append(parts, "not taken over")
	}
	return strings.Join(parts, ", ")
}

// counts writes numbers of partitions as 11/11/10, and those of many workers shortly.
func counts(n []int) string {
	switch many := len(n) > manyShares; {
	case many && n[0] == n[len(n)-1]:
		return fmt.Sprintf("%d each", n[0])
	case many:
		return fmt.Sprintf("%d to %d", n[len(n)-1], n[0])
	}
	return joined(n, "%d")
}

// percents writes shares as 26/24/25/25 %.
func percents(shares []float64) string {
	if len(shares) > manyShares {
		low, high := shares[0], shares[0]
		for _, s := range shares {
			low, high = min(low, s), max(high, s)
		}
		return fmt.Sprintf("%.0f to %.0f %%", low, high)
	}
	return joined(shares, "%.0f") + " %"
}

// manyShares is from how many workers on only the smallest and the greatest share are written.
const manyShares = 6

func joined[T any](values []T, format string) string {
	var parts []string
	for _, v := range values {
		parts = append(parts, fmt.Sprintf(format, v))
	}
	return strings.Join(parts, "/")
}

// printSteps prints the table of all steps that were gone through.
func printSteps(out io.Writer, results []StepResult) error {
	if len(results) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	_, _ = fmt.Fprintln(w, "\nSTAGE\tEXPECTED: PARTITIONS, SHARE\tSEEN")
	for _, r := range results {
		_, _ = fmt.Fprintf(w, "%s %s\t%s\t%s\n", r.Worker, r.What, r.expected(), r.seen())
	}
	return w.Flush() // which also reports what went wrong before
}
