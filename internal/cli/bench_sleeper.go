package cli

import (
	"context"
	"errors"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/bench"
)

// benchSleeperVerb is a process that listens and has nothing to do, for `rouse bench append --idle-processes`.
func benchSleeperVerb(e *env) *cobra.Command {
	eof := false
	cmd := &cobra.Command{
		Use:    bench.SleeperCommand + " INDEX TOTAL",
		Short:  "Listen and have nothing to do",
		Hidden: true,
		Args:   cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			e.parsed = true
			index, err := strconv.Atoi(args[0])
			total, totalErr := strconv.Atoi(args[1])
			if err = errors.Join(err, totalErr); err != nil {
				return usagef("%q are no two numbers", args)
			}
			return untilEOF(cmd.Context(), eof, func(ctx context.Context) error {
				pool, err := e.db.Pool(ctx, "bench sleeper", 2)
				if err != nil {
					return err
				}
				defer pool.Close()
				return bench.Sleep(ctx, pool, index, total, e.log)
			})
		},
	}
	untilEOFFlag(cmd.Flags(), &eof)
	return cmd
}
