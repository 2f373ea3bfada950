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
	if _, err := os.Stat("/proc/self/stat"); err != nil || !b.cfg.Own {
		return 0, nil // it is not told
	}
	// The first line of the file is the process id. Reading it needs a superuser, which the own server's user is.
	pid, err := b.number(ctx, "select split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::bigint")
	if err != nil {
		return 0, err
	}
	parent := strconv.FormatInt(pid, 10)
	ticks := int64(0)
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
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
		for _, field := range fields[11:15] { // utime, stime, and those of ended children
			n, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				return 0, err
			}
			ticks += n
		}
	}
	return time.Duration(ticks) * clockTick, nil
}
