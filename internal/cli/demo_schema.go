package cli

import (
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/demo"
)

// demoSchemaVerb is the keeper of the schema of a demo, a process of its own.
func demoSchemaVerb(e *env) *cobra.Command {
	return &cobra.Command{
		Use:    demo.KeeperCommand + " NAME",
		Short:  "Keep the schema of a demo until standard input ends",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			e.parsed = true
			signal.Ignore(syscall.SIGPIPE) // a parent that is gone must not end this process before its work is done
			if !strings.HasPrefix(args[0], demo.SchemaPrefix) {
				return usagef("the schema %s is none of a demo", args[0]) // it would be dropped
			}
			return demo.KeepSchema(cmd.Context(), &e.db, args[0], os.Stdin, e.out)
		},
	}
}
