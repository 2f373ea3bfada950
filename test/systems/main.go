// Command systems checks that the packages of a module, tests included, have no error of types on other systems than this one. It reads
// everything from source, so nothing is compiled for them, which would take minutes.
//
// Usage: systems FOLDER SYSTEM.. such as systems .. darwin windows
package main

import (
	"fmt"
	"os"

	"golang.org/x/tools/go/packages"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "systems: name the folder of a module and systems, such as: systems .. darwin windows")
		os.Exit(2)
	}
	code := 0
	for _, system := range os.Args[2:] {
		if err := check(os.Args[1], system); err != nil {
			fmt.Fprintf(os.Stderr, "systems: %s: %v\n", system, err)
			code = 1
		}
	}
	os.Exit(code)
}

// check type-checks all packages of the module in the folder for the system, and prints what is wrong.
func check(folder, system string) error {
	all, err := packages.Load(&packages.Config{
		Mode: packages.LoadAllSyntax, Dir: folder, Tests: true,
		Env: append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0"),
	}, "./...")
	if err != nil {
		return fmt.Errorf("its packages cannot be listed: %w", err)
	}
	if len(all) == 0 {
		return fmt.Errorf("%s has no packages", folder)
	}
	if faults := packages.PrintErrors(all); faults > 0 {
		return fmt.Errorf("%d errors", faults)
	}
	return nil
}
