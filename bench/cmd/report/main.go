// Command report writes docs/performance.md and its pictures from the results of the benchmarks.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/rouse-es/rouse/bench/report"
)

func main() {
	results := flag.String("results", "results", "folder of the results")
	docs := flag.String("docs", "../docs", "folder to write performance.md and img/ into")
	flag.Parse()
	if err := report.Write(*results, *docs); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}
