package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/migrations"
	"github.com/rouse-es/rouse/partition"
)

func (a *app) projectionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "projection",
		Short: "List projections and change how they are kept",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.projectionListCommand(), a.projectionPauseCommand(), a.projectionResumeCommand(), a.projectionResetCommand(),
		a.projectionSkipCommand(), a.projectionResizeCommand())
	return cmd
}

func (a *app) projectionListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "Show the projections, their partitions and how far each is behind",
		Long: `List shows every projection that has ever run here. LAG is that of the partition that is
furthest behind; rouse status shows each.`,
		Args: cobra.NoArgs,
		RunE: a.verb(a.projectionList),
	}
}

// listedProjection is a line of `rouse projection list`.
type listedProjection struct {
	Name       string  `json:"name"`
	Partitions int     `json:"partitions"`
	Unowned    int     `json:"unowned"`
	State      string  `json:"state"`
	LagEvents  int64   `json:"lag_events"`
	LagSeconds float64 `json:"lag_seconds"`
}

func (a *app) projectionList(ctx context.Context) error {
	r, err := a.readReport(ctx, "rouse projection")
	if err != nil {
		return err
	}
	list := []listedProjection{}
	for _, p := range r.Projections {
		list = append(list, listedProjection{p.Name, len(p.Partitions), p.Unowned, p.State, p.LagEvents, p.LagSeconds})
	}
	if a.json {
		return a.printJSON(list)
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	row := func(cells ...string) { _, _ = fmt.Fprintln(w, strings.Join(cells, "\t")) }
	row("PROJECTION", "PARTITIONS", "UNOWNED", "STATE", "LAG", "LAG TIME")
	for _, p := range list {
		row(p.Name, fmt.Sprint(p.Partitions), fmt.Sprint(p.Unowned), p.State, grouped(p.LagEvents), seconds(p.LagSeconds))
	}
	return w.Flush() // which also reports what went wrong before
}

func (a *app) projectionResizeCommand() *cobra.Command {
	var partitions int
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "resize NAME --partitions N",
		Short: "Change the number of partitions of a projection while its workers run",
		Long: `Resize splits or joins the partitions of a projection. N is a power of two from 1 to 1024,
any number of steps away. Checkpoints are carried over: no event is handled twice, none is
left out, and workers go on by themselves with what is theirs then.

Partitions can be joined only at one common checkpoint. Their owners bring it about, and
handle nothing beyond it meanwhile. If that takes longer than --timeout, everything stays
as it was and the message names the partitions that were waited for. Where no worker runs,
partitions can be split, and joined if their checkpoints happen to be equal.

A worker that is told a number of partitions (--partitions, ROUSE_PARTITIONS, or in a
program Config.Partitions) stops when the database has another one: leave it at 0.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if timeout <= 0 {
				return usagef("--timeout %s is not above 0", timeout)
			}
			a.parsed = true
			return a.projectionResize(cmd.Context(), args[0], partitions, timeout)
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&partitions, "partitions", 0, "how many partitions there are to be, a power of two from 1 to 1024")
	flags.DurationVar(&timeout, "timeout", partition.ResizeTimeout, "how long to wait for a common checkpoint")
	_ = cmd.MarkFlagRequired("partitions")
	return cmd
}

// resized is what `rouse projection resize` reports.
type resized struct {
	Projection string `json:"projection"`
	From       int    `json:"from"`
	To         int    `json:"to"`
}

func (a *app) projectionResize(ctx context.Context, name string, partitions int, timeout time.Duration) error {
	pool, err := a.pool(ctx, "rouse projection", 2)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := migrations.Check(ctx, pool); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	from, err := partition.Resize(limited, pool, name, partitions)
	switch {
	case errors.Is(err, partition.ErrNoProjection):
		return usageError{fmt.Errorf("%w (rouse projection list shows those that there are)", err)}
	case err != nil:
		return err
	case a.json:
		return a.printJSON(resized{name, from, partitions})
	case from == partitions:
		return a.say("%s has %d partitions already, nothing to do", name, partitions)
	}
	return a.say("%s had %d partitions and has %d now (workers that set --partitions, ROUSE_PARTITIONS or Config.Partitions must say %d or leave it at 0)",
		name, from, partitions, partitions)
}
