package app

import (
	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/cli"
)

// Cobra returns the program as a command of cobra, with all of its verbs below it, for a program that has commands of its own beside
// it:
//
//	root.AddCommand(app.Cobra(app.Config{Name: "events", Projections: ...}))
//	if err := root.Execute(); err != nil {
//		os.Exit(app.ExitCode(err))
//	}
//
// Name is the name of the command; its default is rouse here. The verbs print to where the command prints, end in order at a signal, or
// with the context of the command, and return errors whose message is one sentence; ExitCode has the exit codes for them. cobra prints
// the message itself, unless the root has SilenceErrors. PersistentPreRun of the root is not called, unless cobra.EnableTraverseRunHooks
// is set. It panics if cfg cannot be a program, such as with two projections of the same name.
func Cobra(cfg Config) *cobra.Command {
	if cfg.Name == "" {
		cfg.Name = "rouse"
	}
	cmd, err := cli.Embedded(cfg.program())
	if err != nil {
		panic("app: " + err.Error())
	}
	return cmd
}

// ExitCode returns the exit code for an error, that of the verbs of Cobra or any other of this module's packages; 0 for nil. The help
// of the program says what each means.
func ExitCode(err error) int {
	code, _ := cli.Explain(err)
	return code
}

// Explain returns one sentence for an error, which says what to do about it, without passwords and connection strings; "" for nil.
func Explain(err error) string {
	_, sentence := cli.Explain(err)
	return sentence
}
