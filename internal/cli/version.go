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
	Rouse   string `json:"rouse,omitempty"` // of the library, in a program of its users
	Schema  int    `json:"schema"`          // the version of the schema it is made for
}

// module is the path of the library.
const module = "github.com/rouse-es/rouse"

// thisBuild describes this binary; name is the version that the program says, "": none.
func thisBuild(name string) build {
	b := build{Version: name, Commit: commit, Schema: migrations.Latest()}
	if b.Version == "" {
		b.Version = version
	}
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
	for _, dep := range info.Deps {
		if dep.Path == module {
			b.Rouse = dep.Version
		}
	}
	return b
}

func versionVerb(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this binary and of the schema it is made for",
		Args:  cobra.NoArgs,
		RunE: e.verb(func(context.Context) error {
			b := thisBuild(e.program.Version)
			if e.json {
				return e.printJSON(b)
			}
			of := ""
			if b.Rouse != "" {
				of = "rouse " + b.Rouse + ", "
			}
			return e.say("%s %s (commit %s, %sschema %d)", e.program.name(), b.Version, b.Commit, of, b.Schema)
		}),
	}
}
