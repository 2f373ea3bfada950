package cli

import (
	"context"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/console"
	"github.com/rouse-es/rouse/migrations"
)

// version and commit are set by the linker (-X PACKAGE.version=... -X PACKAGE.commit=..., see the Makefile); without it they are
// what Go recorded.
var version, commit string

// build says which binary this is.
type build struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Schema  int    `json:"schema"` // the version of the schema it is made for
}

func thisBuild() build {
	b := build{Version: version, Commit: commit, Schema: migrations.Latest()}
	info, _ := debug.ReadBuildInfo()
	if info == nil {
		info = &debug.BuildInfo{}
	}
	if b.Version == "" {
		b.Version = info.Main.Version
	}
	if b.Version == "" || b.Version == "(devel)" {
		b.Version = "dev"
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" && b.Commit == "" {
			b.Commit = console.Clip(setting.Value, 12)
		}
	}
	if b.Commit == "" {
		b.Commit = "unknown"
	}
	return b
}

func versionVerb(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this binary and of the schema it is made for",
		Args:  cobra.NoArgs,
		RunE: e.verb(func(context.Context) error {
			b := thisBuild()
			if e.json {
				return e.printJSON(b)
			}
			return e.say("%s %s (commit %s, schema %d)", e.program.name(), b.Version, b.Commit, b.Schema)
		}),
	}
}
