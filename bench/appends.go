package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rouse-es/rouse"
)

// variant is one way of being pushed; the first of them is what the others are compared with.
type variant struct {
	name       string
	push, loud string // ALTER TABLE's words for the push trigger and for the one that always notifies
}

var variants = []variant{
	{"push off", "disable", "disable"},
	{"rouse", "enable always", "disable"},
	{"notify always", "disable", "enable"},
}

var disks = []struct{ flag, name, settings string }{
	{"fast", "disk as it is", "alter system reset commit_delay; alter system reset commit_siblings"},
	{"slow", "commit_delay = 5000, commit_siblings = 0", "alter system set commit_delay = 5000; alter system set commit_siblings = 0"},
}

// outcome is one round.
type outcome struct {
	rate    float64       // appends/s
	drain   time.Duration // from the writers' end until the worker had everything
	torrent bool          // the mode when the writers ended
}

// appends prints how fast pgbench appends while one worker reads and handles everything.
func (b *bench) appends(ctx context.Context) error {
	pgbench, err := findPgbench()
	if err != nil {
		return err
	}
	script := filepath.Join(os.TempDir(), fmt.Sprintf("rouse-bench-%d.sql", os.Getpid()))
	if err := os.WriteFile(script, appendScript, 0o600); err != nil {
		return err
	}
	defer func() { _ = os.Remove(script) }()
	var numbers []int
	for _, field := range strings.Split(b.options.writers, ",") {
		n, err := strconv.Atoi(field)
		if err != nil {
			return fmt.Errorf("-writers: %w", err)
		}
		numbers = append(numbers, n)
	}
	round := 0
	for _, disk := range disks {
		if b.disk != "" && b.disk != disk.flag {
			continue
		}
		for _, sql := range strings.Split(disk.settings+"; select pg_reload_conf()", ";") {
			if _, err := b.pool.Exec(ctx, sql); err != nil {
				return err
			}
		}
		fmt.Printf("\nappends/s, %s: median of %d rounds of %d s, each with a worker that handles them\n", disk.name, b.rounds, b.seconds)
		fmt.Printf("%8s %12s %12s %8s %14s %8s %20s %8s\n", "writers", "push off", "rouse", "ratio", "notify always", "ratio", "drained after (ms)", "torrent")
		for _, writers := range numbers {
			results := make([][]outcome, len(variants))
			for range b.rounds {
				for i, v := range variants {
					round++
					r, err := b.round(ctx, pgbench, script, v, writers, round)
					if err != nil {
						return err
					}
					results[i] = append(results[i], r)
				}
			}
			b.print(writers, results)
		}
	}
	return nil
}

func (b *bench) print(writers int, results [][]outcome) {
	rate := func(i int) float64 { return median(results[i], func(o outcome) float64 { return o.rate }) }
	// The ratio is taken round by round: neighbours in time are what can be compared.
	ratio := func(i int) float64 {
		var rs []float64
		for k := range results[i] {
			rs = append(rs, results[i][k].rate/results[0][k].rate)
		}
		return median(rs, func(r float64) float64 { return r })
	}
	drained := median(results[1], func(o outcome) float64 { return float64(o.drain.Milliseconds()) })
	torrents := 0
	for _, o := range results[1] {
		if o.torrent {
			torrents++
		}
	}
	fmt.Printf("%8d %12.0f %12.0f %8.2f %14.0f %8.2f %20.0f %5d/%d\n", writers, rate(0), rate(1), ratio(1), rate(2), ratio(2), drained, torrents, len(results[1]))
}

func median[T any](of []T, value func(T) float64) float64 {
	var vs []float64
	for _, o := range of {
		vs = append(vs, value(o))
	}
	slices.Sort(vs)
	return vs[len(vs)/2]
}

// round lets pgbench write for a while beside a fresh worker that is up and asleep.
func (b *bench) round(ctx context.Context, pgbench, script string, v variant, writers, round int) (outcome, error) {
	for _, sql := range []string{
		"alter table events " + v.push + " trigger rouse_append_after",
		"alter table events " + v.loud + " trigger noisy_push",
		"checkpoint",
	} {
		if _, err := b.pool.Exec(ctx, sql); err != nil {
			return outcome{}, err
		}
	}
	w, stop, err := b.worker(ctx, rouse.Observer{})
	if err != nil {
		return outcome{}, err
	}
	defer stop()
	cmd := exec.CommandContext(ctx, pgbench, "-n", "-M", "prepared", "-f", script, "-c", strconv.Itoa(writers), "-j", "2",
		"-T", strconv.Itoa(b.seconds+writers/16), // connecting takes its part of it, about 40 ms a writer; the rate leaves it out
		"-D", "v=0", "-D", "round="+strconv.Itoa(round), b.url)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return outcome{}, fmt.Errorf("pgbench: %w\n%s", err, out)
	}
	o := outcome{torrent: w.Status().Mode == "torrent"}
	m := regexp.MustCompile(`tps = ([0-9.]+)`).FindSubmatch(out)
	if m == nil {
		return outcome{}, fmt.Errorf("pgbench printed no rate:\n%s", out)
	}
	if o.rate, err = strconv.ParseFloat(string(m[1]), 64); err != nil {
		return outcome{}, err
	}
	ended := time.Now()
	if err := w.Drain(ctx); err != nil {
		return outcome{}, err
	}
	o.drain = time.Since(ended)
	return o, nil
}

// worker runs a worker until stop is called, and returns once it has caught up and its push mode has settled.
func (b *bench) worker(ctx context.Context, observer rouse.Observer) (w *rouse.Worker, stop func(), err error) {
	w, err = rouse.New(b.pool, rouse.Config{Projections: []rouse.Projection{counts{}}, Log: b.log, Observer: observer})
	if err != nil {
		return nil, nil, err
	}
	runCtx, cancel := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- w.Run(runCtx) }()
	stop = func() { cancel(); <-ran }
	select {
	case <-w.Started():
	case err := <-ran:
		ran <- err
		stop()
		return nil, nil, fmt.Errorf("the worker ended at once: %w", err)
	}
	if err := w.Drain(ctx); err != nil {
		stop()
		return nil, nil, err
	}
	for range 1000 {
		if w.Status().Mode == "quiet" {
			return w, stop, nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	stop()
	return nil, nil, fmt.Errorf("the worker is not armed after five seconds, its mode is %s", w.Status().Mode)
}

func findPgbench() (string, error) {
	if path, err := exec.LookPath("pgbench"); err == nil {
		return path, nil
	}
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin/pgbench", "/usr/pgsql-*/bin/pgbench", "/opt/homebrew/opt/postgresql*/bin/pgbench"} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return found[len(found)-1], nil
		}
	}
	return "", fmt.Errorf("pgbench is not to be found (install PostgreSQL's client programs, or use -only latency)")
}
