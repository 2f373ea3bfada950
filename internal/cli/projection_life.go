package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/console"
	"github.com/rouse-es/rouse/projection"
)

func projectionCreateVerb(e *env) *cobra.Command {
	var from string
	var partitions int
	cmd := steered(e, "create", "Say where a projection begins that no worker has run yet",
		`Create makes the checkpoints of a projection or effect before its first worker starts, or
after it was dropped: at the beginning of the log, now (what is committed later is handled,
nothing that was committed before), behind a position, or with the first event of a time such
as 2026-02-28T12:00:00Z. Whatever its program says of where to begin does not count then.`,
		func(ctx context.Context, pool *pgxpool.Pool, name string) error {
			start, err := projection.ParseStart(from)
			if err != nil {
				return err
			}
			behind, err := projection.Create(ctx, pool, name, start, partitions)
			switch {
			case err != nil:
				return err
			case e.json:
				return e.printJSON(created{name, behind})
			}
			return e.say("%s begins behind position %s, once a worker runs it", name, console.Grouped(behind))
		})
	flags := cmd.Flags()
	flags.StringVar(&from, "from", "", "beginning, now, a position, or a time")
	flags.IntVar(&partitions, "partitions", 0, "how many partitions there are to be, a power of two from 1 to 1024; 0: the default, 32")
	_ = cmd.MarkFlagRequired("from")
	return cmd
}

// created is what `rouse projection create --json` prints.
type created struct {
	Projection string `json:"projection"`
	Behind     int64  `json:"behind"`
}

// dropped is what `rouse projection drop --json` prints. Retired: no worker makes one of that name anew.
type dropped struct {
	Projection string `json:"projection"`
	Retired    bool   `json:"retired"`
}

// renamed is what `rouse projection rename --json` prints.
type renamed struct {
	Projection string `json:"projection"`
	RenamedTo  string `json:"renamed_to"`
}

func projectionDropVerb(e *env) *cobra.Command {
	var force bool
	cmd := steered(e, "drop", "End a projection for good",
		`Drop takes a projection away: its checkpoints, and what was parked or is tried again. Its
name is retired: a worker that is started with it stops that projection and says why, and
does not begin it at the beginning of the log; rouse projection create makes it anew. Its
read model stays, and is yours to drop. What is built or kept beside it is dropped before, as
NAME@VERSION or NAME@rebuild, and with its tables; workers need not stop for that.

It is refused while a living worker runs the projection, or something beside it. With --force
those workers stop it, and go on with their others; what is beside it goes with its tables. When
the command has ended, none of them handles an event of it.`,
		func(ctx context.Context, pool *pgxpool.Pool, name string) error {
			err := projection.Drop(ctx, pool, name, force)
			if errors.Is(err, projection.ErrInUse) {
				return fmt.Errorf("%w (or --force has it stop it)", err)
			}
			beside := strings.Contains(name, "@") // a version, or a rebuild
			switch {
			case err != nil:
				return err
			case e.json:
				return e.printJSON(dropped{name, !beside})
			case beside:
				return e.say("%s is dropped, with its tables", name)
			}
			return e.say("%s is dropped, and its name is retired (rouse projection create %s makes it anew)", name, name)
		})
	cmd.Flags().BoolVar(&force, "force", false, "also while workers run it, which stop it then, and with what is beside it")
	return cmd
}

func projectionRenameVerb(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "rename NAME NEW",
		Short: "Give a projection another name, with all that is kept of it",
		Long: `Rename gives a projection another name: its checkpoints, and what is parked or tried again, go
with it. Its program has to say the new name from then on: a worker that is started with the
old one stops that projection and says what it is called now. It is refused while a living
worker runs a projection of either name, or something is built or kept beside it.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			e.parsed = true
			return steer(cmd.Context(), e, args[0], func(ctx context.Context, pool *pgxpool.Pool, name string) error {
				if err := projection.Rename(ctx, pool, name, args[1]); err != nil {
					return err
				}
				if e.json {
					return e.printJSON(renamed{name, args[1]})
				}
				return e.say("%s is called %s now", name, args[1])
			})
		},
	}
}
