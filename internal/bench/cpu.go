package bench

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of CPU times in /proc, the same on every Linux that Go supports.
const clockTick = 10 * time.Millisecond

// serverCPU is what the server has used since its start: its processes of now, and those that have ended. It is 0 where the
// server is not the benchmark's own, and on systems without /proc.
func (b *Bench) serverCPU(ctx context.Context) (time.Duration, error) {
	ticks := int64(0)
	err := b.ofServer(ctx, func(_ string, fields []string) error {
		for _, field := range fields[11:15] { // utime, stime, and those of ended children
			n, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				return err
			}
			ticks += n
		}
		return nil
	})
	return time.Duration(ticks) * clockTick, err
}

// serverSwitches is how often the server's processes of now have given their processor away because they had nothing to do. It is 0
// where serverCPU is.
func (b *Bench) serverSwitches(ctx context.Context) (total float64, err error) {
	err = b.ofServer(ctx, func(dir string, _ []string) error {
		if n, err := strconv.ParseFloat(procValue(filepath.Join(dir, "status"), "voluntary_ctxt_switches"), 64); err == nil {
			total += n // else it has ended
		}
		return nil
	})
	return total, err
}

// ofServer calls tell with the folder in /proc of each process of the server, and with what its stat says from the state on.
func (b *Bench) ofServer(ctx context.Context, tell func(dir string, fields []string) error) error {
	if _, err := os.Stat("/proc/self/stat"); err != nil || !b.cfg.Own {
		return nil // it is not told
	}
	// The first line of the file is the process id. Reading it needs a superuser, which the own server's user is.
	pid, err := b.number(ctx, "select split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::bigint")
	if err != nil {
		return err
	}
	parent := strconv.FormatInt(pid, 10)
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return err
	}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])) // the name before may hold anything
		if len(fields) < 15 || fields[1] != parent && filepath.Base(filepath.Dir(path)) != parent {
			continue
		}
		if err := tell(filepath.Dir(path), fields); err != nil {
			return err
		}
	}
	return nil
}
