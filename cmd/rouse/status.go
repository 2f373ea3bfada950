package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/report"
)

func (a *app) statusCommand() *cobra.Command {
	var each bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how far the projections are, who works on them, and what holds them back",
		Long: `Status reads everything from the database, so it also answers while no worker runs.

LAG is how many positions the last event is ahead of a checkpoint, and how old the first
event behind the checkpoint is. EPOCH rises each time a partition changes hands. Partitions that
nobody owns are shown as unowned: no worker runs for them, their static worker is stopped, or
nobody may take them, because every worker has reached its --max-partitions. UPTIME is how long
ago a worker joined, HEARTBEAT when it last said that it is there.`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context) error { return a.status(ctx, each) }),
	}
	cmd.Flags().BoolVar(&each, "partitions", false, "one line for each partition, instead of one for all that stand alike")
	return cmd
}

func (a *app) status(ctx context.Context, each bool) error {
	r, err := a.readReport(ctx, "rouse status")
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(r)
	}
	return a.printReport(r, each)
}

// readReport reads how everything stands.
func (a *app) readReport(ctx context.Context, name string) (r report.Report, err error) {
	err = a.withSchema(ctx, name, func(pool *pgxpool.Pool) error {
		r, err = report.Read(ctx, pool)
		return err
	})
	return r, err
}

func (a *app) printReport(r report.Report, each bool) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	row := func(cells ...string) { _, _ = fmt.Fprintln(w, strings.Join(cells, "\t")) }
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) }

	line("last event at position %s", grouped(r.Head))
	if len(r.Projections) == 0 {
		line("no projection has run here yet")
	}
	for _, p := range r.Projections {
		line("")
		line("projection %s", headline(p))
		row("  PARTITIONS", "CHECKPOINT", "LAG", "LAG TIME", "OWNER", "EPOCH", "STATE")
		for _, f := range fold(p.Partitions, each) {
			row("  "+numbers(f.partitions), grouped(f.Checkpoint), grouped(f.LagEvents), seconds(f.LagSeconds), f.owner(), f.epochs(), f.State)
		}
	}
	line("")
	if len(r.Workers) == 0 {
		line("no worker runs")
	} else {
		row("WORKER", "INSTANCE", "SHARE", "HANDLED", "RATE", "MODE", "LAST WAKE", "HEARTBEAT", "UPTIME", "STATES")
	}
	for _, worker := range r.Workers {
		row(worker.Label, clip(worker.Instance, 8), share(worker), grouped(worker.EventsHandled),
			strconv.FormatFloat(worker.EventsPerSecond, 'f', 1, 64)+"/s", worker.Mode, ago(worker.LastWakeAgeSeconds), heartbeat(worker), seconds(worker.UptimeSeconds), states(worker))
	}
	for i, o := range r.OpenAppends {
		if i == 0 {
			line("")
			line("open appends hold back what was committed behind them:")
		}
		line("  %s", openAppend(o))
	}
	return w.Flush() // which also reports what went wrong before
}

// headline says in one line how a projection is.
func headline(p report.Projection) string {
	parts := []string{p.Name + " (" + p.State + ")", fmt.Sprintf("%d partitions", len(p.Partitions))}
	if p.Unowned > 0 {
		parts = append(parts, fmt.Sprintf("%d of them unowned", p.Unowned))
	}
	if p.NobodyMayTake > 0 {
		parts = append(parts, fmt.Sprintf("%d of them nobody may take (start more workers, or raise --max-partitions)", p.NobodyMayTake))
	}
	parts = append(parts, fmt.Sprintf("lag %s events, %s", grouped(p.LagEvents), seconds(p.LagSeconds)))
	text := strings.Join(parts, ", ")
	if p.Parked.Events > 0 {
		text += "\n  " + parkedLine(p.Parked) + " (see rouse parked list)"
	}
	if p.State != "running" && p.LastError != "" {
		text += "\n  stopped"
		if p.ErrorPosition != 0 {
			text += " at position " + grouped(p.ErrorPosition)
		}
		text += " " + ago(p.ErrorAgeSeconds) + ": " + strings.ReplaceAll(p.LastError, "\n", " ")
	}
	return text
}

// parkedLine says what was set aside.
func parkedLine(p report.Parked) string {
	text := fmt.Sprintf("%s of %s, the first was parked %s", counted(p.Events, "parked event"), counted(p.Aggregates, "aggregate"), ago(p.OldestAgeSeconds))
	if p.Due > 0 {
		text += fmt.Sprintf(", %s of them to be handled again", grouped(p.Due))
	}
	return text
}

// folded is a set of partitions that stand alike.
type folded struct {
	report.Partition         // the first
	partitions         []int // all of them
	minEpoch, maxEpoch int64
}

func (f folded) epochs() string {
	if f.minEpoch == f.maxEpoch {
		return strconv.FormatInt(f.minEpoch, 10)
	}
	return fmt.Sprintf("%d-%d", f.minEpoch, f.maxEpoch)
}

func (f folded) owner() string {
	if f.Owner == "" {
		return report.Unowned
	}
	return f.Owner
}

// fold puts partitions together that have the same owner, checkpoint and state, in the order of the first of each.
func fold(partitions []report.Partition, each bool) []folded {
	type alike struct {
		instance, state string
		checkpoint      int64
	}
	var out []folded
	at := map[alike]int{}
	for _, p := range partitions {
		key := alike{p.Instance, p.State, p.Checkpoint}
		i, seen := at[key]
		if !seen || each {
			i = len(out)
			at[key] = i
			out = append(out, folded{Partition: p, minEpoch: p.Epoch, maxEpoch: p.Epoch})
		}
		out[i].minEpoch, out[i].maxEpoch = min(out[i].minEpoch, p.Epoch), max(out[i].maxEpoch, p.Epoch)
		out[i].partitions = append(out[i].partitions, p.Partition)
	}
	return out
}

// numbers writes rising numbers shortly: 0-31, or 0,4,...,28 where they have one distance, or 0-2,7.
func numbers(n []int) string {
	if len(n) > 3 && n[1]-n[0] > 1 {
		distance := n[1] - n[0]
		if !slices.ContainsFunc(n, func(v int) bool { return (v-n[0])%distance != 0 }) && n[len(n)-1] == n[0]+distance*(len(n)-1) {
			return fmt.Sprintf("%d,%d,...,%d", n[0], n[1], n[len(n)-1])
		}
	}
	var parts []string
	for i := 0; i < len(n); {
		j := i
		for j+1 < len(n) && n[j+1] == n[j]+1 {
			j++
		}
		if part := strconv.Itoa(n[i]); i == j {
			parts = append(parts, part)
		} else {
			parts = append(parts, part+"-"+strconv.Itoa(n[j]))
		}
		i = j + 1
	}
	return strings.Join(parts, ",")
}

// share is how a worker gets its partitions.
func share(w report.Worker) string {
	text := w.Assignment
	if w.Index != nil && w.Total != nil {
		text += fmt.Sprintf(" %d/%d", *w.Index, *w.Total)
	}
	if w.MaxPartitions != nil {
		text += fmt.Sprintf(", max %d", *w.MaxPartitions)
	}
	if w.Leaving {
		text += ", leaving"
	}
	return text
}

func ago(age *float64) string {
	if age == nil {
		return "never"
	}
	return seconds(max(*age, 0)) + " ago"
}

func heartbeat(w report.Worker) string {
	text := ago(&w.HeartbeatAgeSeconds)
	if !w.Alive {
		text += " (dead)"
	}
	return text
}

func states(w report.Worker) string {
	var parts []string
	for projection, state := range w.States {
		parts = append(parts, projection+": "+state)
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

func openAppend(o report.OpenAppend) string {
	who := fmt.Sprintf("session %d", o.PID)
	switch {
	case o.Prepared != "":
		who = "prepared transaction " + strconv.Quote(o.Prepared)
	case o.PID == 0:
		who = "a prepared transaction (look into pg_prepared_xacts)"
	case o.Application != "":
		who += " of " + strconv.Quote(o.Application)
	}
	if o.Role != "" {
		who += ", role " + o.Role
	}
	if o.State != "" {
		who += ", " + o.State
	}
	since := "for an unknown time"
	if o.AgeSeconds != nil {
		since = "for " + seconds(*o.AgeSeconds)
	}
	return fmt.Sprintf("%s, open %s, holds back everything after position %s", who, since, grouped(o.HoldsAfter))
}
