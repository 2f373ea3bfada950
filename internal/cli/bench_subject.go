package cli

import (
	"context"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/bench"
)

// benchSubjectVerb is a process that is measured: `rouse bench projections` and `rouse bench payloads` run it.
func benchSubjectVerb(e *env) *cobra.Command {
	eof := false
	cmd := &cobra.Command{
		Use:    bench.SubjectCommand + " live PROJECTIONS | through NAME",
		Short:  "Work and say what it takes",
		Hidden: true,
		Args:   cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			e.parsed = true
			conns := 3 // for one projection
			var do func(ctx context.Context, pool *pgxpool.Pool) error
			switch projections, err := strconv.Atoi(args[1]); {
			case args[0] == "through":
				do = func(ctx context.Context, pool *pgxpool.Pool) error {
					return bench.Through(ctx, pool, args[1], e.out, e.log)
				}
			case args[0] != "live" || err != nil || projections < 1:
				return usagef("%q is neither live with a number nor through with a name", args)
			default:
				conns = 2*projections + 1
				do = func(ctx context.Context, pool *pgxpool.Pool) error {
					return bench.Live(ctx, pool, projections, e.out, e.log)
				}
			}
			return untilEOF(cmd.Context(), eof, func(ctx context.Context) error {
				pool, err := e.db.Pool(ctx, strings.TrimPrefix(bench.SubjectName, "rouse "), conns)
				if err != nil {
					return err
				}
				defer pool.Close()
				return do(ctx, pool)
			})
		},
	}
	untilEOFFlag(cmd.Flags(), &eof)
	return cmd
}
