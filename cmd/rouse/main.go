// Command rouse sets the schema up, appends events, runs a worker and shows what workers do. See rouse --help.
package main

import "os"

func main() { os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr)) }
