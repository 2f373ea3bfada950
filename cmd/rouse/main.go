// Command rouse sets the schema up, appends events, runs a worker and shows what workers do. See rouse --help.
package main

import (
	"os"

	"github.com/rouse-es/rouse/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr)) }
