package cli

import (
	"context"
	"fmt"
	"math"

	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/bench"
	"github.com/rouse-es/rouse/internal/console"
)

func benchLatencyVerb(e *env) *cobra.Command {
	var o bench.LatencyOptions
	cmd := &cobra.Command{
		Use:   "latency",
		Short: "How soon after its commit an event is handled",
		Long: `Latency appends events and measures from the acknowledged commit of each to the acknowledged
commit of its effect. The floor is a loop written by hand, NOTIFY + SELECT + COMMIT, without any
of the promises, on two connections; it reads by the index of a table that is not young. The two take
turns, event by event; with --writers, by time, and then the floor loses events, because it passes over
what commits out of order, and the same appends are measured beside nobody.`,
		Args: cobra.NoArgs,
		RunE: e.verb(func(ctx context.Context) error {
			if err := checkLatency(o); err != nil {
				return err
			}
			return benchmark(ctx, e, func(b *bench.Bench) (bench.LatencyResult, error) { return b.Latency(ctx, o) }, printLatency, "events")
		}),
	}
	cmd.Flags().IntVar(&o.Events, "events", 0, "how many events of each side are timed at each step; 0: as many as 20 seconds have")
	cmd.Flags().Float64SliceVar(&o.Rates, "rate", []float64{60}, "events per second of each side, at most; several: one after the other")
	cmd.Flags().IntVar(&o.Writers, "writers", 1, "how many append at once, on schedule; 1: each event is waited for, and workers sleep in between")
	cmd.Flags().Int64SliceVar(&o.TableRows, "table-rows", nil, "how many events there are before; several, rising: one after the other")
	cmd.Flags().BoolVar(&o.Carry, "carry", false, "measure a second time, with pushes that carry the events")
	cmd.Flags().BoolVar(&o.Hold, "hold", false, "measure a second time, while a foreign transaction that has written is open")
	return cmd
}

// checkLatency finds what is wrong with flags.
func checkLatency(o bench.LatencyOptions) error {
	switch {
	case o.Events < 0:
		return usagef("--events %d: at least one event, or 0 for 20 seconds", o.Events)
	case len(o.Rates) == 0:
		return usagef("--rate is empty: events per second, such as 10,100")
	case o.Writers < 1 || o.Writers > benchWriters:
		return usagef("--writers %d: from 1 to %d", o.Writers, benchWriters)
	}
	for _, rate := range o.Rates {
		if !(rate > 0) || math.IsInf(rate, 0) {
			return usagef("--rate %g: events per second, more than 0", rate)
		}
	}
	for i, rows := range o.TableRows {
		if rows < 0 || rows > 100_000_000 || i > 0 && rows < o.TableRows[i-1] {
			return usagef("--table-rows %v: from 0 to 100000000, rising", o.TableRows)
		}
	}
	return nil
}

func printLatency(e *env, r bench.LatencyResult) error {
	if err := benchServerLine(e, r.Server); err != nil {
		return err
	}
	row := func(name string, p bench.Percentiles) string {
		return fmt.Sprintf("%26s %8.2f %8.2f %8.2f", name, p.P50, p.P90, p.P99)
	}
	for _, s := range r.Steps {
		lines := []string{
			fmt.Sprintf("commit to handled and committed, %s events of each side in turn, at most %g/s of each%s (ms)",
				console.Grouped(int64(s.Events)), s.Rate, latencyConditions(r, s)),
			fmt.Sprintf("%26s %8s %8s %8s", "", "p50", "p90", "p99"),
			row("NOTIFY + SELECT + COMMIT", s.Floor),
			row("rouse", s.Rouse),
			row("rouse / floor", bench.Percentiles(s.Ratio)),
		}
		if s.AloneAppend != nil {
			lines = append(lines, fmt.Sprintf("appends: %.0f/s, p50 %.2f ms, p99 %.2f ms; beside nobody %.0f/s, %.2f ms, %.2f ms",
				s.Appended, s.Append.P50, s.Append.P99, s.AloneAppended, s.AloneAppend.P50, s.AloneAppend.P99))
		}
		if lost := int64(s.Events) - s.FloorHandled; lost > 0 {
			lines = append(lines, fmt.Sprintf("the floor lost %s events", console.Grouped(lost)))
		}
		if err := sayLines(e, lines...); err != nil {
			return err
		}
	}
	return nil
}

// latencyConditions names what is not as usual.
func latencyConditions(r bench.LatencyResult, s bench.LatencyStep) (text string) {
	if r.Writers > 1 {
		text += fmt.Sprintf(" from %d writers", r.Writers)
	}
	if s.TableRows > 0 {
		text += fmt.Sprintf(", %s events before", console.Grouped(s.TableRows))
	}
	if s.Carried {
		text += ", carried by the push"
	}
	if s.Held {
		text += ", a foreign transaction open"
	}
	return text
}
