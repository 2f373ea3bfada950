// Command house-numbers prints how large the rooms of a checkout are, as a Markdown table; of two checkouts, beside each other:
//
//	go run ./scripts/house-numbers [BEFORE] CHECKOUT
//
// All of it is counted in the syntax of the source, but for the frames, for which a worker handles an event on a PostgreSQL of
// its own: see frames.go. Tests count nowhere. -frames=false leaves those out, and HOUSE_STACK=1 prints them by name.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// rows are what the table has, in its order.
var rows = []struct {
	name  string
	count func(*tree) string
}{
	{"root files / lines, without tests", rootSize},
	{"methods on the biggest type of the library, and the files they stand in", func(t *tree) string { return t.biggest(library) }},
	{"the same of the command", func(t *tree) string { return t.biggest(command) }},
	{"fields in reach of a line of the handler's path", reach},
	{"frames of the product from a goroutine's start to SendBatch of a batch, of them closures", frames},
	{"public names, of them declared API", publicNames},
	{"direct requirements of the root go.mod", requirements},
	{"root comment share", commentShare},
}

var withFrames = flag.Bool("frames", true, "measure frames, which starts a PostgreSQL")

func main() {
	flag.Parse()
	checkouts := flag.Args()
	if len(checkouts) == 0 {
		checkouts = []string{"."}
	}
	if err := run(checkouts); err != nil {
		fmt.Fprintln(os.Stderr, "house-numbers:", err)
		os.Exit(1)
	}
}

func run(checkouts []string) error {
	var trees []*tree
	head, line := "| number |", "|---|"
	for i, path := range checkouts {
		t, err := read(path)
		if err != nil {
			return err
		}
		trees = append(trees, t)
		name := filepath.Base(t.root)
		if len(checkouts) == 2 {
			name = []string{"before", "after"}[i]
		}
		head, line = head+" "+name+" |", line+"---|"
	}
	fmt.Println(head)
	fmt.Println(line)
	for _, row := range rows {
		cells := []string{row.name}
		for _, t := range trees {
			cells = append(cells, row.count(t))
		}
		fmt.Println("| " + strings.Join(cells, " | ") + " |")
	}
	var errs []error
	for _, t := range trees {
		errs = append(errs, t.err)
	}
	return errors.Join(errs...)
}
