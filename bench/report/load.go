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
	carried                 *bench.LatencyResult
	ladder                  *bench.LadderResult
	cost                    *bench.CostResult
	append, beside          *bench.AppendResult
	writers                 *bench.WritersResult
	catchup                 *bench.CatchupResult
	partitions              *bench.PartitionsResult
	payloads                *bench.PayloadsResult
	scale                   *bench.ScaleResult
	projections             *bench.ManyResult
	idle, crowd             *bench.IdleResult
	tenants                 *bench.TenantsResult
	wait                    *bench.WaitResult
	compare                 *compare.Result
}

// load reads a folder of results.
func load(dir string) (r results, err error) {
	err = errors.Join(
		read(dir, "latency-quiet", &r.quiet), read(dir, "latency-busy", &r.busy), read(dir, "latency-rows", &r.rows),
		read(dir, "latency-held", &r.held), read(dir, "latency-carried", &r.carried), read(dir, "ladder", &r.ladder), read(dir, "cost", &r.cost), read(dir, "append", &r.append),
		read(dir, "append-idle", &r.beside), read(dir, "writers", &r.writers), read(dir, "catchup", &r.catchup),
		read(dir, "partitions", &r.partitions), read(dir, "payloads", &r.payloads), read(dir, "scale", &r.scale),
		read(dir, "projections", &r.projections), read(dir, "idle", &r.idle), read(dir, "idle-many", &r.crowd),
		read(dir, "tenants", &r.tenants), read(dir, "wait", &r.wait), read(dir, "compare", &r.compare))
	// A floor that was read without its index is another floor: what was measured beside it is no result of today.
	for _, l := range []**bench.LatencyResult{&r.quiet, &r.busy, &r.rows, &r.held, &r.carried} {
		if *l != nil && (*l).FloorRows == 0 {
			*l = nil
		}
	}
	return r, err
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
			if measured(known) == measured(s) {
				return
			}
		}
		all = append(all, s)
	}
	for _, l := range []*bench.LatencyResult{r.quiet, r.busy, r.rows, r.held, r.carried} {
		addOf(add, l, func(l *bench.LatencyResult) bench.Server { return l.Server })
	}
	for _, a := range []*bench.AppendResult{r.append, r.beside} {
		addOf(add, a, func(a *bench.AppendResult) bench.Server { return a.Server })
	}
	for _, i := range []*bench.IdleResult{r.idle, r.crowd} {
		addOf(add, i, func(i *bench.IdleResult) bench.Server { return i.Server })
	}
	addOf(add, r.ladder, func(r *bench.LadderResult) bench.Server { return r.Server })
	addOf(add, r.cost, func(r *bench.CostResult) bench.Server { return r.Server })
	addOf(add, r.writers, func(r *bench.WritersResult) bench.Server { return r.Server })
	addOf(add, r.catchup, func(r *bench.CatchupResult) bench.Server { return r.Server })
	addOf(add, r.partitions, func(r *bench.PartitionsResult) bench.Server { return r.Server })
	addOf(add, r.payloads, func(r *bench.PayloadsResult) bench.Server { return r.Server })
	addOf(add, r.scale, func(r *bench.ScaleResult) bench.Server { return r.Server })
	addOf(add, r.projections, func(r *bench.ManyResult) bench.Server { return r.Server })
	addOf(add, r.tenants, func(r *bench.TenantsResult) bench.Server { return r.Server })
	addOf(add, r.wait, func(r *bench.WaitResult) bench.Server { return r.Server })
	addOf(add, r.compare, func(r *compare.Result) bench.Server { return r.Server })
	return all
}

// addOf adds the server of a result, if there is one.
func addOf[R any](add func(bench.Server), r *R, server func(*R) bench.Server) {
	if r != nil {
		add(server(r))
	}
}
