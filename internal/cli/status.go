package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/console"
	"github.com/rouse-es/rouse/internal/report"
)

func statusVerb(e *env) *cobra.Command {
	var each bool
	var schemas string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how far the projections are, who works on them, and what holds them back",
		Long: `Status reads everything from the database, so it also answers while no worker runs.

LAG is how many positions the last event is ahead of a checkpoint, and how old the first
event behind the checkpoint is. EPOCH rises each time a partition changes hands. Partitions that
nobody owns are shown as unowned, or paused where their projection is: no worker runs for them, their static worker is stopped, or
nobody may take them, because every worker has reached its --max-partitions. UPTIME is how long
ago a worker joined, HEARTBEAT when it last said that it is there.`,
		Args: cobra.NoArgs,
		RunE: e.verb(func(ctx context.Context) error {
			return inSchemas(ctx, e, schemas, func(ctx context.Context, e *env) error { return showStatus(ctx, e, each) })
		}),
	}
	schemasFlag(cmd.Flags(), &schemas, "show each of these schemas of the database")
	cmd.Flags().BoolVar(&each, "partitions", false, "one line for each partition, instead of one for all that stand alike")
	return cmd
}

func showStatus(ctx context.Context, e *env, each bool) error {
	r, err := readReport(ctx, e, "status")
	if err != nil {
		return err
	}
	if e.json {
		return e.printJSON(r)
	}
	return printReport(e, r, each)
}

// readReport reads how everything stands.
func readReport(ctx context.Context, e *env, name string) (r report.Report, err error) {
	err = e.db.WithSchema(ctx, name, func(pool *pgxpool.Pool) error {
		r, err = report.Read(ctx, pool)
		return err
	})
	return r, err
}

func printReport(e *env, r report.Report, each bool) error {
	w := tabwriter.NewWriter(e.out, 0, 0, 2, ' ', 0)
	row := func(cells ...string) { _ = console.Row(w, cells...) } // the flush reports what went wrong
	line := func(format string, args ...any) { _ = console.Printf(w, format+"\n", args...) }

	line("last event at position %s", console.Grouped(r.Head))
	if len(r.Projections) == 0 {
		line("no projection has run here yet")
	}
	for _, p := range r.Projections {
		line("")
		line("projection %s", headline(p))
		for _, text := range remarks(p) {
			line("  %s", e.speak(text))
		}
		row("  PARTITIONS", "CHECKPOINT", "LAG", "LAG TIME", "OWNER", "EPOCH", "STATE")
		for _, f := range fold(p.Partitions, each) {
			row("  "+numbers(f.partitions), console.Grouped(f.Checkpoint), console.Grouped(f.LagEvents), console.Seconds(f.LagSeconds), f.owner(), f.epochs(), f.State)
		}
	}
	line("")
	if len(r.Workers) == 0 {
		line("no worker runs")
	} else {
		row("WORKER", "INSTANCE", "SHARE", "HANDLED", "RATE", "MODE", "LAST WAKE", "HEARTBEAT", "UPTIME", "STATES")
	}
	for _, worker := range r.Workers {
		row(worker.Label, lastDigits(worker.Instance), share(worker), console.Grouped(worker.EventsHandled),
			strconv.FormatFloat(worker.EventsPerSecond, 'f', 1, 64)+"/s", worker.Mode, ago(worker.LastWakeAgeSeconds), heartbeat(worker), console.Seconds(worker.UptimeSeconds), states(worker))
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
	parts := []string{p.Name + " (" + p.StateText() + ")", fmt.Sprintf("%d partitions", len(p.Partitions))}
	if p.Build != nil {
		parts = append(parts[:1], append([]string{buildLine(*p.Build, p.Version)}, parts[1:]...)...)
	}
	if p.Unowned > 0 && p.State != report.Paused {
		parts = append(parts, fmt.Sprintf("%d of them unowned", p.Unowned))
	}
	if p.NobodyMayTake > 0 {
		parts = append(parts, fmt.Sprintf("%d of them nobody may take (start more workers, or raise --max-partitions)", p.NobodyMayTake))
	}
	parts = append(parts, fmt.Sprintf("lag %s events, %s", console.Grouped(p.LagEvents), console.Seconds(p.LagSeconds)))
	return strings.Join(parts, ", ")
}

// buildLine says how far what is built beside a projection is.
func buildLine(b report.Build, version int) string {
	line := fmt.Sprintf("version %d, built beside %s, %d %%", version, b.Of, b.Percent)
	if b.EventsPerSecond > 0 {
		line += fmt.Sprintf(", %s events/s, %s left", console.Grouped(int64(b.EventsPerSecond)), console.Seconds(b.SecondsLeft))
	}
	return line
}

// remarks are what else there is to say of a projection, a line each.
func remarks(p report.Projection) (lines []string) {
	if p.Retrying.Events > 0 {
		lines = append(lines, retryingLine(p.Retrying)+" (see rouse parked list)")
	}
	if p.Deferred.Events > 0 {
		lines = append(lines, deferredLine(p.Deferred)+" (see rouse parked list)")
	}
	if p.Parked.Events > 0 {
		lines = append(lines, parkedLine(p.Parked)+" (see rouse parked list)")
	}
	if p.Build != nil && p.Build.Trouble != "" {
		lines = append(lines, "cannot take the place of "+p.Build.Of+": "+strings.ReplaceAll(p.Build.Trouble, "\n", " "))
	}
	if p.Reset != nil {
		lines = append(lines, fmt.Sprintf("is to start over behind position %s, tried %s: %s", console.Grouped(p.Reset.To), console.Counted(int64(p.Reset.Tries), "time"),
			strings.ReplaceAll(p.Reset.Error, "\n", " ")))
	}
	for _, t := range p.Troubles {
		lines = append(lines, fmt.Sprintf("%s in %s for %s: %s", t.State, t.Worker, console.Seconds(t.AgeSeconds), strings.ReplaceAll(t.Text, "\n", " ")))
	}
	if p.Stopped && p.LastError != "" {
		text := "stopped"
		if p.ErrorPosition != 0 {
			text += " at position " + console.Grouped(p.ErrorPosition)
		}
		lines = append(lines, text+" "+ago(p.ErrorAgeSeconds)+": "+strings.ReplaceAll(p.LastError, "\n", " "))
	}
	return lines
}

// parkedLine says what waits for people.
func parkedLine(p report.Parked) string {
	return fmt.Sprintf("%s of %s, the first was parked %s", console.Counted(p.Events, "parked event"), console.Counted(p.Aggregates, "aggregate"), ago(p.OldestAgeSeconds))
}

// deferredLine says what waits for its time.
func deferredLine(p report.Deferred) string {
	next := "now"
	if p.NextSeconds != nil && *p.NextSeconds > 0 {
		next = "not before " + time.Now().Add(time.Duration(*p.NextSeconds*float64(time.Second))).UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("%s of %s, the first of them %s", console.Counted(p.Events, "deferred event"), console.Counted(p.Aggregates, "aggregate"), next)
}

// retryingLine says what is tried again by itself.
func retryingLine(p report.Parked) string {
	return fmt.Sprintf("%s of %s, the first was set aside %s, by the event at position %s: %s", console.Counted(p.Events, "retrying event"),
		console.Counted(p.Aggregates, "aggregate"), ago(p.OldestAgeSeconds), console.Grouped(p.Position), console.Clip(strings.Join(strings.Fields(p.Error), " "), errorWidth))
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
	switch {
	case f.Owner == "" && f.State == report.Paused:
		return "nobody"
	case f.Owner == "":
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

// lastDigits are those of an id by which people tell instances apart: the first ones are the time, and alike in all that started
// within a minute.
func lastDigits(id string) string { return id[max(0, len(id)-8):] }

func ago(age *float64) string {
	if age == nil {
		return "never"
	}
	return console.Seconds(max(*age, 0)) + " ago"
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
		since = "for " + console.Seconds(*o.AgeSeconds)
	}
	return fmt.Sprintf("%s, open %s, holds back everything after position %s", who, since, console.Grouped(o.HoldsAfter))
}
