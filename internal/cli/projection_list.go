package cli

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/console"
	"github.com/rouse-es/rouse/internal/report"
	"github.com/rouse-es/rouse/projection"
)

func projectionListVerb(e *env) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show the projections, their partitions and how far each is behind",
		Long: `List shows every projection that runs here, or has run and was not dropped, and what is built
beside one. LAG is that of the partition that is furthest behind; rouse status shows each.
TROUBLE is what keeps a projection from getting on in a living worker, and for how long it has.`,
		Args: cobra.NoArgs,
		RunE: e.verb(func(ctx context.Context) error { return listProjections(ctx, e, all) }),
	}
	cmd.Flags().BoolVar(&all, "all", false, "also show the names that were dropped or renamed")
	return cmd
}

// listedProjection is a line of `rouse projection list`.
type listedProjection struct {
	projection.Listed

	// RenamedTo is what one with state retired is called now; "": it was dropped. RetiredAt is when.
	RenamedTo string     `json:"renamed_to,omitempty"`
	RetiredAt *time.Time `json:"retired_at,omitempty"`
}

// troubleWidth is how much of a trouble a line shows, in characters; JSON and rouse status have all of it.
const troubleWidth = 100

func listProjections(ctx context.Context, e *env, all bool) error {
	r, err := readReport(ctx, e, "projection")
	if err != nil {
		return err
	}
	list, conditions := []listedProjection{}, []string{}
	for _, p := range r.Projections {
		listed := projection.Listed{
			Name: p.Name, Partitions: len(p.Partitions), Unowned: p.Unowned, State: p.State, Stopped: p.Stopped, LagEvents: p.LagEvents, LagSeconds: p.LagSeconds,
		}
		if len(p.Troubles) > 0 {
			listed.Trouble, listed.TroubleSeconds = p.Troubles[0].Text, p.Troubles[0].AgeSeconds
		}
		list = append(list, listedProjection{Listed: listed})
		conditions = append(conditions, p.StateText())
	}
	for _, r := range r.Retired {
		if all {
			at := r.RetiredAt.UTC()
			list = append(list, listedProjection{Listed: projection.Listed{Name: r.Name, State: report.RetiredName}, RenamedTo: r.RenamedTo, RetiredAt: &at})
			conditions = append(conditions, retiredText(r))
		}
	}
	if e.json {
		return e.printJSON(list)
	}
	w := tabwriter.NewWriter(e.out, 0, 0, 2, ' ', 0)
	row := func(cells ...string) { _ = console.Row(w, cells...) }
	row("PROJECTION", "PARTITIONS", "UNOWNED", "STATE", "LAG", "LAG TIME", "TROUBLE")
	for i, p := range list {
		trouble := ""
		if p.Trouble != "" {
			trouble = "for " + console.Seconds(p.TroubleSeconds) + ": " + console.Clip(strings.ReplaceAll(p.Trouble, "\n", " "), troubleWidth)
		}
		row(p.Name, fmt.Sprint(p.Partitions), fmt.Sprint(p.Unowned), conditions[i], console.Grouped(p.LagEvents), console.Seconds(p.LagSeconds), trouble)
	}
	return w.Flush() // which also reports what went wrong before
}

// retiredText says what has become of a name.
func retiredText(r report.Retired) string {
	if r.RenamedTo != "" {
		return "called " + r.RenamedTo + " since " + console.Seconds(r.AgeSeconds)
	}
	return "dropped " + console.Seconds(r.AgeSeconds) + " ago"
}
