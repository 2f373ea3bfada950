// Command rouse sets the schema up, appends events, runs a worker and shows what workers do. See rouse --help.
package main

import (
	"github.com/rouse-es/rouse/app"
	"github.com/rouse-es/rouse/internal/builtin"
)

func main() { app.Main(builtin.App()) }
