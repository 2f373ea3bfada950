package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/internal/console"
	"github.com/rouse-es/rouse/projection"
)

func projectionResetVerb(e *env) *cobra.Command {
	var to string
	var force bool
	var wait time.Duration
	cmd := steered(e, "reset", "Have a projection start over",
		`Reset has a projection start over: at the beginning of the log, behind a position, with the
first event of a time such as 2026-02-28T12:00:00Z, or now, at the end of the log. The next
worker that runs the projection does it, in one transaction with emptying the read model, and
forgets what was parked. A projection that cannot empty its read model (rouse.Resetter), and
every effect, needs --force: then events are applied again to what is there. Where it fails,
the projection goes on as it was, and workers try again, ten times in about four minutes; rouse
status shows the error. It ends with 0 only if it was done, or with --wait 0 as soon as it is
asked for.`,
		func(ctx context.Context, pool *pgxpool.Pool, name string) error {
			start, err := parseReset(to)
			if err != nil {
				return err
			}
			at, err := projection.ResetTo(ctx, pool, name, start, force)
			if err != nil {
				return err
			}
			return awaitReset(ctx, e, pool, name, at, wait)
		})
	flags := cmd.Flags()
	flags.StringVar(&to, "to", "", "beginning, now, a position, or a time")
	flags.BoolVar(&force, "force", false, "also where the read model cannot be emptied")
	flags.DurationVar(&wait, "wait", 30*time.Second, "how long to wait for a worker to do it; 0: only ask for it")
	_ = cmd.MarkFlagRequired("to")
	return cmd
}

// parseReset reads --to. end is the older word for now.
func parseReset(to string) (projection.Start, error) {
	if to == "end" {
		to = string(catchup.Now)
	}
	start, err := projection.ParseStart(to)
	if err != nil {
		return "", usagef("--to %q is none of beginning, now, a position, and a time such as 2026-02-28T12:00:00Z", to)
	}
	return start, nil
}

// restarted is what `rouse projection reset --json` prints. Done: a worker has done it, else one will.
type restarted struct {
	Projection string `json:"projection"`
	Behind     int64  `json:"behind"`
	Done       bool   `json:"done"`
}

// awaitReset waits until a worker has dealt with the request.
func awaitReset(ctx context.Context, e *env, pool *pgxpool.Pool, name string, at int64, wait time.Duration) error {
	deadline := time.Now().Add(wait)
	for {
		last, err := projection.LastReset(ctx, pool, name)
		switch {
		case err != nil:
			return err
		case last.Pending && last.To != at:
			return fmt.Errorf("%s is not started over behind position %s: somebody has asked for position %s since", name, console.Grouped(at), console.Grouped(last.To))
		case !last.Pending && last.Reason != "":
			return fmt.Errorf("%s is not started over: %s", name, last.Reason)
		case e.json && (!last.Pending || wait <= 0):
			return e.printJSON(restarted{name, at, !last.Pending})
		case !last.Pending:
			return e.say("%s has started over behind position %s", name, console.Grouped(at))
		case wait <= 0:
			return e.say("%s will start over behind position %s as soon as a worker runs it", name, console.Grouped(at))
		case time.Now().After(deadline) && last.Tries > 0:
			return fmt.Errorf("%s has not started over within %s; its workers go on trying. What they met in try %d: %s", name, wait, last.Tries, last.Reason)
		case time.Now().After(deadline):
			return fmt.Errorf("%s has not started over within %s, and does once a worker runs it (start one, or see rouse status whether one is doing it)", name, wait)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}
