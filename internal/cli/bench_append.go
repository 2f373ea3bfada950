package cli

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/bench"
	"github.com/rouse-es/rouse/internal/console"
)

// appendBenchFlags are the flags of `rouse bench append` that need a look before they are options.
type appendBenchFlags struct {
	writers         []int
	rounds, seconds int
	idle            int
	disk            string
}

func benchAppendVerb(e *env) *cobra.Command {
	var f appendBenchFlags
	cmd := &cobra.Command{
		Use:   "append",
		Short: "What the push costs those who append",
		Long: `Append measures how fast writers append, each event in a transaction of its own, while one worker
reads and handles everything: with the push trigger switched off, as Rouse has it, and with one
that notifies on every commit. The writers are pgbench where it is found, else goroutines of this
process. Further processes may listen meanwhile. On a server of its own it measures a second time with commit_delay, as on a slow disk.`,
		Args: cobra.NoArgs,
		RunE: e.verb(func(ctx context.Context) error {
			own := e.db.URL == ""
			o, err := f.options(own)
			if err != nil {
				return err
			}
			o.Pgbench = bench.FindPgbench()
			if o.Program, err = os.Executable(); err != nil {
				return err
			}
			return benchmark(ctx, e, func(b *bench.Bench) (bench.AppendResult, error) { return b.Append(ctx, o) }, printAppend, "rounds")
		}),
	}
	cmd.Flags().IntSliceVar(&f.writers, "writers", []int{1, 4, 16, 64}, "numbers of writers")
	cmd.Flags().IntVar(&f.rounds, "rounds", 5, "rounds of each variant")
	cmd.Flags().IntVar(&f.seconds, "seconds", 5, "length of one round")
	cmd.Flags().IntVar(&f.idle, "idle-processes", 0, "how many further processes listen and have nothing to do")
	cmd.Flags().StringVar(&f.disk, "disk", "", "as-is, or slow (commit_delay, only on the embedded server); default: all that is possible")
	return cmd
}

// options checks the flags. own tells that the server will be the benchmark's own.
func (f appendBenchFlags) options(own bool) (o bench.AppendOptions, err error) {
	switch {
	case len(f.writers) == 0 || slices.Min(f.writers) < 1 || slices.Max(f.writers) > benchWriters:
		return o, usagef("--writers %v: numbers from 1 to %d, such as 1,4,16", f.writers, benchWriters)
	case f.rounds < 1:
		return o, usagef("--rounds %d: at least one", f.rounds)
	case f.idle < 0 || f.idle > benchIdle:
		return o, usagef("--idle-processes %d: from 0 to %d", f.idle, benchIdle)
	case f.seconds < 1 || f.seconds > 3600:
		return o, usagef("--seconds %d: from 1 to 3600", f.seconds)
	}
	o = bench.AppendOptions{Idle: f.idle, Writers: f.writers, Rounds: f.rounds, Length: time.Duration(f.seconds) * time.Second}
	switch disk := bench.Disk(f.disk); {
	case disk == "" && own:
		o.Disks = []bench.Disk{bench.DiskAsIs, bench.DiskSlow}
	case disk == "", disk == bench.DiskAsIs:
		o.Disks = []bench.Disk{bench.DiskAsIs}
	case disk == bench.DiskSlow && own:
		o.Disks = []bench.Disk{bench.DiskSlow}
	case disk == bench.DiskSlow:
		return o, usagef("--disk slow changes settings of the whole server (leave out DATABASE_URL and --database-url to have it on a server of its own)")
	default:
		return o, usagef("--disk %q is none of as-is, slow", f.disk)
	}
	return o, nil
}

func printAppend(e *env, r bench.AppendResult) error {
	if err := benchServerLine(e, r.Server); err != nil {
		return err
	}
	for _, disk := range r.Disks {
		name := "the disk as it is"
		if disk.Disk == bench.DiskSlow {
			name = fmt.Sprintf("commit_delay = %s, commit_siblings = %s", disk.Settings["commit_delay"], disk.Settings["commit_siblings"])
		}
		lines := []string{
			fmt.Sprintf("appends/s, %s, median of %d rounds of %g s, each with a worker that handles them", name, len(disk.Rows[0].Rounds), r.Length),
			fmt.Sprintf("%8s %12s %12s %8s %14s %8s", "writers", "push off", "rouse", "ratio", "notify always", "ratio"),
		}
		for _, row := range disk.Rows {
			lines = append(lines, fmt.Sprintf("%8d %12s %12s %8.2f %14s %8.2f", row.Writers, console.Grouped(int64(row.Off)),
				console.Grouped(int64(row.Rouse)), row.RouseRatio, console.Grouped(int64(row.NotifyAlways)), row.NotifyAlwaysRatio))
		}
		if err := sayLines(e, lines...); err != nil {
			return err
		}
	}
	return e.say("written by %s; %s events appended and handled", r.Writer, console.Grouped(r.Events))
}
