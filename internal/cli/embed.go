package cli

import (
	"errors"
	"os"
	"sync"

	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/database"
	"github.com/rouse-es/rouse/internal/signal"
)

// Fault is an error of a verb in a command line that has other commands, with the exit code that belongs to it. Its message is one sentence,
// without a password.
type Fault struct {
	Code     int
	Sentence string
	Err      error
}

// Error implements error.
func (f *Fault) Error() string { return f.Sentence }

// Unwrap returns the cause.
func (f *Fault) Unwrap() error { return f.Err }

// Explain returns the exit code of any error, and a sentence that says what to do.
func Explain(err error) (code int, sentence string) {
	var fault *Fault
	switch {
	case err == nil:
		return exitOK, ""
	case errors.As(err, &fault):
		return fault.Code, fault.Sentence
	}
	return explain(&database.Database{}, err)
}

// Embedded returns the command of a program that has others beside it. What it prints goes to where that command prints, signals end
// what it does in order, and errors are Faults.
func Embedded(program Program) (*cobra.Command, error) {
	e := newEnv(program, os.Stdout, os.Stderr)
	e.embedded = true
	root := rootCommand(e)
	if err := errors.Join(e.program.check(), clash(root)); err != nil {
		return nil, err
	}
	root.SilenceErrors, root.SilenceUsage = false, false
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return e.misused(cmd, err) })
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		e.out, e.err = cmd.OutOrStdout(), cmd.ErrOrStderr()
		if err := e.prepare(cmd); err != nil {
			return e.misused(cmd, err)
		}
		return nil
	}
	e.embed(root)
	return root, nil
}

// embed has a command and those below it do what run does for a command line of our own.
func (e *env) embed(cmd *cobra.Command) {
	cmd.SilenceUsage = true
	if args := cmd.Args; args != nil {
		cmd.Args = func(cmd *cobra.Command, given []string) error {
			if err := args(cmd, given); err != nil {
				return e.misused(cmd, err)
			}
			return nil
		}
	}
	before, beforeE := cmd.PreRun, cmd.PreRunE
	cmd.PreRun, cmd.PreRunE = nil, func(cmd *cobra.Command, args []string) error {
		if err := errors.Join(cmd.ValidateRequiredFlags(), cmd.ValidateFlagGroups()); err != nil {
			e.closeLog()
			return e.misused(cmd, err)
		}
		switch {
		case beforeE != nil:
			return beforeE(cmd, args)
		case before != nil:
			before(cmd, args)
		}
		return nil
	}
	if do := cmd.RunE; do != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.Context(cmd.Context())
			defer stop()
			defer cmd.SetContext(cmd.Context())
			cmd.SetContext(ctx)
			e.parsed = false
			err := do(cmd, args)
			e.closeLog()
			if err == nil {
				return nil
			}
			if !e.parsed {
				return e.misused(cmd, err)
			}
			code, sentence := e.explained(ctx, err)
			return &Fault{Code: code, Sentence: sentence, Err: err}
		}
	}
	for _, below := range cmd.Commands() {
		e.embed(below)
	}
}

// misused is what is wrong with a command line.
func (e *env) misused(cmd *cobra.Command, err error) error {
	var fault *Fault
	if errors.As(err, &fault) {
		return err
	}
	return &Fault{Code: exitUsage, Sentence: plain(err) + " (see " + cmd.CommandPath() + " --help)", Err: usageError{err}}
}

// learning has the help say what people type, which is known once the command has its place below others.
func (e *env) learning(root *cobra.Command) (learn func()) {
	learn = sync.OnceFunc(func() { e.learn(root) })
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		learn()
		help := (&cobra.Command{}).HelpFunc()
		if root.HasParent() {
			help = root.Parent().HelpFunc()
		}
		help(cmd, args)
	})
	return learn
}
