// Package report writes docs/performance.md and its pictures from what the benchmarks have measured, each part from a file of
// its own, so that every part can be run alone. A part that was not run is named as missing.
package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/rouse-es/rouse/bench/compare"
	"github.com/rouse-es/rouse/internal/bench"
)

// results are what was measured; nil: it was not.
type results struct {
	quiet, busy, rows, held *bench.LatencyResult
	append, beside          *bench.AppendResult
	catchup                 *bench.CatchupResult
	scale                   *bench.ScaleResult
	idle                    *bench.IdleResult
	compare                 *compare.Result
}

// load reads a folder of results.
func load(dir string) (r results, err error) {
	return r, errors.Join(
		read(dir, "latency-quiet", &r.quiet), read(dir, "latency-busy", &r.busy), read(dir, "latency-rows", &r.rows),
		read(dir, "latency-held", &r.held), read(dir, "append", &r.append), read(dir, "append-idle", &r.beside),
		read(dir, "catchup", &r.catchup), read(dir, "scale", &r.scale), read(dir, "idle", &r.idle), read(dir, "compare", &r.compare))
}

// read reads one file, if it is there.
func read[R any](dir, name string, into **R) error {
	text, err := os.ReadFile(filepath.Join(dir, name+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	r := new(R)
	if err := json.Unmarshal(text, r); err != nil {
		return fmt.Errorf("report: %s.json is no result (run its part again): %w", name, err)
	}
	*into = r
	return nil
}

// servers are those of the parts that were run, each once.
func (r results) servers() (all []bench.Server) {
	add := func(s bench.Server) {
		for _, known := range all {
			if known.Version == s.Version && known.Machine == s.Machine {
				return
			}
		}
		all = append(all, s)
	}
	for _, l := range []*bench.LatencyResult{r.quiet, r.busy, r.rows, r.held} {
		if l != nil {
			add(l.Server)
		}
	}
	for _, a := range []*bench.AppendResult{r.append, r.beside} {
		if a != nil {
			add(a.Server)
		}
	}
	if r.catchup != nil {
		add(r.catchup.Server)
	}
	if r.scale != nil {
		add(r.scale.Server)
	}
	if r.idle != nil {
		add(r.idle.Server)
	}
	if r.compare != nil {
		add(r.compare.Server)
	}
	return all
}
