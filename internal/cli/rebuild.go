package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/rouse-es/rouse/internal/console"
	"github.com/rouse-es/rouse/projection"
)

// aloneAfter is how long a rebuild waits before it says that there is no worker.
const aloneAfter = 3 * time.Second

func projectionRebuildVerb(e *env) *cobra.Command {
	var text string
	var detach, cancel bool
	cmd := steered(e, "rebuild", "Build the read model of a projection anew, beside the one that is live",
		`Rebuild has the workers of a projection build its read model anew, in tables of its own, as
fast as they can read the log. The live one is served and kept up to date meanwhile. As soon as
the new one has caught up, it takes the place in one transaction, so readers see the old one or
the new one, and never a gap. The handler has to name its tables (rouse.Tabled); an effect is
not rebuilt.

Rebuild shows how far it is and waits. Ctrl+C, or the end of the terminal, ends the waiting
and not the rebuild: the same command goes on watching it, and --cancel ends it.`,
		func(ctx context.Context, pool *pgxpool.Pool, name string) error {
			var from projection.Start
			if text != "" {
				var err error
				if from, err = projection.ParseStart(text); err != nil {
					return err
				}
			}
			switch {
			case cancel && (detach || text != ""):
				return usagef("--cancel goes with neither --detach nor --from")
			case cancel:
				return cancelRebuild(ctx, e, pool, name)
			case detach:
				return detachRebuild(ctx, e, pool, name, from)
			}
			return rebuild(ctx, e, pool, name, from)
		})
	flags := cmd.Flags()
	flags.StringVar(&text, "from", "", "beginning, a position, or a time; where the projection began if it is not said")
	flags.BoolVar(&detach, "detach", false, "only ask for it")
	flags.BoolVar(&cancel, "cancel", false, "end the rebuild that is under way, and remove what it has built")
	return cmd
}

func cancelRebuild(ctx context.Context, e *env, pool *pgxpool.Pool, name string) error {
	if err := projection.CancelRebuild(ctx, pool, name); err != nil {
		return err
	}
	if e.json {
		return e.printJSON(cancelled{name, name + "@rebuild"})
	}
	return e.say("the rebuild of %s is cancelled, and what it has built is removed", name)
}

// cancelled is what `rouse projection rebuild --cancel --json` prints.
type cancelled struct {
	Projection string `json:"projection"`
	Build      string `json:"build"`
}

func detachRebuild(ctx context.Context, e *env, pool *pgxpool.Pool, name string, from projection.Start) error {
	b, err := projection.StartRebuild(ctx, pool, name, from)
	switch {
	case err != nil:
		return err
	case e.json:
		return e.printJSON(builtOf(b))
	}
	return e.say("%s is being rebuilt from position %s on, and takes the place by itself (rouse projection rebuild %s shows how far it is)",
		name, console.Grouped(b.From), name)
}

// built is what `rouse projection rebuild --json` prints.
type built struct {
	Projection string `json:"projection"`
	Build      string `json:"build"`
	Version    int    `json:"version"`
	From       int64  `json:"from"`
	At         int64  `json:"at"`
	Head       int64  `json:"head"`
}

func builtOf(b projection.Build) built {
	return built{Projection: b.Projection, Build: b.Name, Version: b.Version, From: b.From, At: b.At, Head: b.Head}
}

// rebuild waits for a rebuild and shows how far it is.
func rebuild(ctx context.Context, e *env, pool *pgxpool.Pool, name string, from projection.Start) error {
	show := &progress{e: e, began: time.Now()}
	err := projection.Rebuild(ctx, pool, name, from, show.look)
	show.clear()
	switch {
	case err != nil && ctx.Err() != nil:
		_ = console.Printf(e.err, e.speak("the rebuild of %s goes on (rouse projection rebuild %s shows how far it is, and with --cancel ends it)\n"), name, name)
		return err
	case err != nil:
		return err
	case e.json:
		return e.printJSON(builtOf(show.last))
	}
	return e.say("%s is rebuilt: %s positions in %s", name, console.Grouped(max(show.last.Head-show.last.From, 0)), console.Seconds(time.Since(show.began).Seconds()))
}

// progress shows how far a build is, on one line of a terminal, and elsewhere in a line each time that something else keeps it.
type progress struct {
	e     *env
	began time.Time
	bar   *console.Bar
	first projection.Build
	since time.Time // of first
	last  projection.Build
	said  string
}

func (p *progress) look(b projection.Build) {
	p.last = b
	switch {
	case b.Trouble != "" && !b.Final:
		p.say(b.Trouble)
	case b.Workers == 0 && time.Since(p.began) > aloneAfter:
		p.say("no worker builds it (start one that runs " + b.Projection + ")")
	}
	if b.Workers == 0 {
		return
	}
	if p.bar == nil {
		p.bar, p.first, p.since = console.NewBar(p.e.err, max(b.Head-b.From, 1)), b, time.Now()
	}
	p.bar.Unit = p.remains(b)
	p.bar.Draw(min(max(b.At-b.From, 0), max(b.Head-b.From, 1)))
}

// remains says how fast it is and how long it will take.
func (p *progress) remains(b projection.Build) string {
	if b.Near && b.At >= b.Head {
		return "taking the place"
	}
	rate := float64(b.At-p.first.At) / max(time.Since(p.since).Seconds(), 0.001)
	if rate < 1 {
		return ""
	}
	return fmt.Sprintf(" %s events/s  %s left", console.Grouped(int64(rate)), console.Seconds(float64(b.Head-b.At)/rate))
}

func (p *progress) clear() {
	if p.bar != nil {
		p.bar.Clear()
	}
}

// say prints a line for people once.
func (p *progress) say(text string) {
	if text == p.said {
		return
	}
	p.said = text
	p.clear()
	_ = console.Printf(p.e.err, "%s: %s\n", p.last.Name, text)
}

func projectionPromoteVerb(e *env) *cobra.Command {
	var version int
	cmd := steered(e, "promote", "Put another version of a projection into the place of the live one",
		`Promote puts a version that was built beside a projection into the place of the one that is
live, in one transaction with the checkpoints. Its workers go on with it. Workers that still
have the version that was live go on with that one beside, so that it can be promoted back,
until it is dropped: rouse projection drop NAME@VERSION. Without --version it is the one that
is beside it. It tries for three quarters of a minute, ends with 0 only if it was done,
and else nothing has changed.`,
		func(ctx context.Context, pool *pgxpool.Pool, name string) error {
			done, err := projection.Promote(ctx, pool, name, version)
			switch {
			case err != nil:
				return err
			case e.json:
				return e.printJSON(promoted{name, done.Version, done.Kept})
			}
			return e.say("version %d of %s is live; what was goes on as %s", done.Version, name, done.Kept)
		})
	cmd.Flags().IntVar(&version, "version", 0, "the version; 0: the one that is beside the live one")
	return cmd
}

// promoted is what `rouse projection promote --json` prints.
type promoted struct {
	Projection string `json:"projection"`
	Version    int    `json:"version"`
	Kept       string `json:"kept"`
}
