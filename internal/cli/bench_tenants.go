package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/bench"
)

func benchTenantsVerb(e *env) *cobra.Command {
	var o bench.TenantsOptions
	var seconds int
	cmd := &cobra.Command{
		Use:   "tenants",
		Short: "What the workers of many schemas in one process take",
		Long: `Tenants makes schemas with a log each, runs a group with a worker for each of them, on a pool of ten
connections, and measures the start, the rest (connections, transactions as the server counts them,
statements as they are sent, memory), and the time from an append to its effect: of the first append
to each schema, of a burst of one append to each, and then, once each has had a few more, to one
schema after the other and, in turns, to one schema with a worker of its own. With --apart it measures the rest of so many workers without a group beside it.`,
		Args: cobra.NoArgs,
		RunE: e.verb(func(ctx context.Context) error {
			switch {
			case o.Schemas < 1 || o.Schemas > benchSchemas:
				return usagef("--schemas %d: from 1 to %d", o.Schemas, benchSchemas)
			case seconds < 1 || seconds > 3600:
				return usagef("--seconds %d: from 1 to 3600", seconds)
			case o.Appends < 1 || o.Appends > 100_000:
				return usagef("--appends %d: from 1 to 100000", o.Appends)
			case o.Apart < 0 || o.Apart > benchApart:
				return usagef("--apart %d: from 0 to %d", o.Apart, benchApart)
			}
			o.Length = time.Duration(seconds) * time.Second
			return benchmark(ctx, e, func(b *bench.Bench) (bench.TenantsResult, error) { return b.Tenants(ctx, o) }, printTenants, "steps")
		}),
	}
	cmd.Flags().IntVar(&o.Schemas, "schemas", 200, "how many schemas the group has")
	cmd.Flags().IntVar(&seconds, "seconds", 30, "how long the rest is watched")
	cmd.Flags().IntVar(&o.Appends, "appends", 600, "how many appends are timed of each side")
	cmd.Flags().IntVar(&o.Apart, "apart", 10, "how many workers without a group are measured beside it")
	return cmd
}

func printTenants(e *env, r bench.TenantsResult) error {
	if err := benchServerLine(e, r.Server); err != nil {
		return err
	}
	lines := []string{
		fmt.Sprintf("workers with nothing to do for %g s", r.Seconds),
		fmt.Sprintf("%-26s %8s %12s %15s %13s %8s %11s", "", "start", "connections", "transactions/s", "statements/s", "heap", "goroutines"),
		restRow(fmt.Sprintf("a group of %d schemas", r.Schemas), r.Group),
	}
	if r.Apart != nil {
		lines = append(lines, restRow(fmt.Sprintf("%d workers apart", r.Apart.Workers), *r.Apart))
	}
	for _, kind := range []string{"heartbeat", "watch", "probe", "ownership", "event path"} {
		lines = append(lines, fmt.Sprintf("  of the group, %-12s %55.2f", kind, r.Group.Kinds[kind]))
	}
	row := func(name string, p bench.Percentiles) string {
		return fmt.Sprintf("%-26s %8.2f %8.2f %8.2f", name, p.P50, p.P90, p.P99)
	}
	return sayLines(e, append(lines,
		fmt.Sprintf("a burst of one append to each schema was handled in %.2f s, with %d connections", r.Burst, r.BurstConnections),
		fmt.Sprintf("from append to effect, %d of each, in ms", r.Appends),
		fmt.Sprintf("%-26s %8s %8s %8s", "", "p50", "p90", "p99"),
		row("first of each schema", r.First), row("one schema, alone", r.One), row("spread over the group", r.Spread),
		fmt.Sprintf("%-26s %8.2f %8.2f %8.2f", "ratio", r.Ratio.P50, r.Ratio.P90, r.Ratio.P99),
	)...)
}

func restRow(name string, r bench.Rest) string {
	return fmt.Sprintf("%-26s %6.2f s %12d %15.1f %13.1f %5d MB %11d", name, r.Start, r.Connections, r.Transactions, r.Statements, r.Heap>>20, r.Goroutines)
}
