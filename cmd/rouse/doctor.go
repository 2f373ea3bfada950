package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/doctor"
)

func (a *app) doctorCommand() *cobra.Command {
	var listenURL string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look at everything that workers rely on, and say what to do about what is wrong",
		Long: `Doctor looks at the server, the schema, the triggers, the sequence, the rights of the role,
LISTEN, and at what workers, projections and parked events look like. Run it with the address
and the role of a worker. It changes nothing.

A line of fail means that events are lost or stand still, or will be; the exit code is then 7.
A line of warn means that it works, but not as well as it could, or that something waits for a
person.`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context) error { return a.doctor(ctx, listenURL) }),
	}
	cmd.Flags().StringVar(&listenURL, "listen-url", "", "direct address for the listening connection, as for rouse worker")
	fromEnv(cmd.Flags(), "listen-url", "ROUSE_LISTEN_URL")
	return cmd
}

func (a *app) doctor(ctx context.Context, listenURL string) error {
	pool, err := a.poolConfig("rouse doctor")
	if err != nil {
		return err
	}
	cfg := doctor.Config{Pool: pool, Explain: func(err error) string {
		_, sentence := a.explain(err)
		return sentence
	}}
	if listenURL != "" {
		if cfg.Listen, err = a.listenConfig(listenURL, "rouse doctor"); err != nil {
			return err
		}
	}
	r := doctor.Examine(ctx, cfg)
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := a.printFindings(r); err != nil {
		return err
	}
	if r.Failed > 0 {
		return errFindings
	}
	return nil
}

func (a *app) printFindings(r doctor.Report) error {
	if a.json {
		return a.printJSON(r)
	}
	for _, f := range r.Findings {
		if err := a.say("%-4s  %-13s  %s", f.Level, f.Check, f.Text); err != nil {
			return err
		}
		if f.Do != "" {
			if err := a.say("%-4s  %-13s  -> %s", "", "", f.Do); err != nil {
				return err
			}
		}
	}
	return a.say("%s", verdictOf(r))
}

func verdictOf(r doctor.Report) string {
	if r.Failed+r.Warned == 0 {
		return "all is well"
	}
	return fmt.Sprintf("%d fail, %d warn", r.Failed, r.Warned)
}
