package cli

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/script"
	"github.com/rouse-es/rouse/migrations"
)

// Program is what a command line belongs to: a name, what its workers run, and verbs of its own.
type Program struct {
	// Name is what people type, and what messages and the server's list of connections say. "": that of the binary.
	Name string

	// Short says in a line what the program is, and Long what its help begins with. "": a line about Rouse, and Short.
	Short, Long string

	// Version is which one it is. "": as the linker or Go has it.
	Version string

	// Handlers are those that are there before there is a database.
	Handlers

	// With returns further handlers, for a worker that is about to start. Nil: there are none.
	With func(ctx context.Context, w Work) (Handlers, error)

	// Migrations has the program's own migrations, *.sql in whatever folder. Nil: there are none.
	Migrations fs.FS

	// Worker has the last word on the configuration of each worker. Nil: nobody has.
	Worker func(*rouse.Config)

	// WorkerVerb is the verb that runs a worker. "": worker.
	WorkerVerb string

	// Default are the names that a worker runs if none is named. Nil: all.
	Default []string

	// Commands are verbs of the program's own.
	Commands []Command

	scripts script.Set // what is in Migrations

}

// Handlers are projections and effects.
type Handlers struct {
	Projections []rouse.Projection
	Effects     []rouse.Effect
}

// Work is what handlers may need that are made for a worker.
type Work struct {
	Pool   *pgxpool.Pool // leads to the schema of the worker, until the worker has ended
	Schema string        // of --schemas or --schema; "": what search_path says
	Label  string        // by which people know the worker
	Log    zerolog.Logger

	// Names are those that the worker runs. Empty: all.
	Names []string
}

// Runs reports whether the worker runs the projection or effect of a name.
func (w Work) Runs(name string) bool { return len(w.Names) == 0 || slices.Contains(w.Names, name) }

// name is what people type.
func (p *Program) name() string {
	if p.Name != "" {
		return p.Name
	}
	return strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe")
}

// workerVerb is the verb that runs a worker.
func (p *Program) workerVerb() string {
	if p.WorkerVerb != "" {
		return p.WorkerVerb
	}
	return "worker"
}

// names are those of the handlers; "" for one that is nil.
func (h Handlers) names() (names []string) {
	for _, p := range h.Projections {
		names = append(names, nameOf(p))
	}
	for _, e := range h.Effects {
		names = append(names, nameOf(e))
	}
	return names
}

// nameOf is the name of a projection or an effect, "" if it is nil.
func nameOf(handler interface{ Name() string }) string {
	if handler == nil {
		return ""
	}
	return handler.Name()
}

// and returns the handlers of both.
func (h Handlers) and(other Handlers) Handlers {
	return Handlers{append(slices.Clip(h.Projections), other.Projections...), append(slices.Clip(h.Effects), other.Effects...)}
}

// only returns those of these names; no name: all.
func (h Handlers) only(names []string) (chosen Handlers) {
	if len(names) == 0 {
		return h
	}
	for _, p := range h.Projections {
		if slices.Contains(names, p.Name()) {
			chosen.Projections = append(chosen.Projections, p)
		}
	}
	for _, e := range h.Effects {
		if slices.Contains(names, e.Name()) {
			chosen.Effects = append(chosen.Effects, e)
		}
	}
	return chosen
}

// wanted are the names that a worker runs which --projection names these for; none: all. Those that only With can know are let pass.
// An error is one of usage.
func (p *Program) wanted(named []string) ([]string, error) {
	var names []string
	for _, name := range strings.Split(strings.Join(named, ","), ",") {
		if name = strings.TrimSpace(name); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		names = p.Default
	}
	if p.With != nil {
		return names, nil
	}
	return names, p.all(names, p.Handlers)
}

// all checks that these are the names of handlers; an error is one of usage.
func (p *Program) all(names []string, of Handlers) error {
	there := of.names()
	for _, name := range names {
		switch {
		case slices.Contains(there, name):
		case len(there) == 0:
			return usagef("there is no projection %q in this program, which has none", name)
		default:
			return usagef("there is no projection %q in this program, only %s", name, list(there, " and "))
		}
	}
	return nil
}

// handlers returns what a worker runs.
func (p *Program) handlers(ctx context.Context, w Work) (Handlers, error) {
	all := p.Handlers
	if p.With != nil {
		more, err := p.With(ctx, w)
		if err != nil {
			return Handlers{}, own(err)
		}
		all = all.and(more)
	}
	if slices.Contains(all.names(), "") {
		return Handlers{}, errNoName
	}
	if err := p.all(w.Names, all); err != nil {
		return Handlers{}, err
	}
	return all.only(w.Names), nil
}

// errNoName is a fault of the program's Config, or of what its With returns.
var errNoName = usagef("a projection or effect of this program is nil, or has no name")

// check says what is wrong with the program itself, in one sentence, and reads its migrations.
func (p *Program) check() (err error) {
	if p.scripts, err = script.Load(p.Migrations); err != nil {
		return usageError{err}
	}
	for _, name := range append(verbNames(p.Commands), p.workerVerb()) {
		if !verbName.MatchString(name) {
			return usagef("the verb %q of this program is not made of letters, digits and hyphens", name)
		}
	}
	for _, c := range p.Commands {
		if c.Run == nil && c.Cobra == nil {
			return usagef("the verb %s of this program does nothing (set Run or Cobra)", c.Name)
		}
	}
	seen := map[string]bool{}
	for _, name := range p.names() {
		switch {
		case name == "":
			return errNoName
		case seen[name]:
			return usagef("two projections of this program are named %s", name)
		}
		seen[name] = true
	}
	return nil
}

var verbName = regexp.MustCompile(`^[a-z][a-z0-9_-]*$`)

func verbNames(commands []Command) (names []string) {
	for _, c := range commands {
		names = append(names, c.name())
	}
	return names
}

// checkSchema returns nil if a database has what the program works on: Rouse's tables and what its own migrations make.
func (p *Program) checkSchema(ctx context.Context, q migrations.Querier) error {
	if err := migrations.Check(ctx, q); err != nil {
		return err
	}
	return p.scripts.Check(ctx, q)
}

// list puts commas between words, and something else before the last.
func list(words []string, last string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return fmt.Sprint(strings.Join(words[:len(words)-1], ", "), last, words[len(words)-1])
}

// complete completes the configuration of a worker with what it runs, and gives the program the last word on it.
func (p *Program) complete(ctx context.Context, cfg *rouse.Config, w Work) (err error) {
	defer func() {
		if said := recover(); said != nil { // of one schema of many, it must not end the others
			err = own(fmt.Errorf("the program panicked at %s before its worker began: %v", panicSite(), said))
		}
	}()
	h, err := p.handlers(ctx, w)
	if err != nil {
		return err
	}
	// A copy, which Worker may change: other workers of the process have the same handlers.
	cfg.Projections, cfg.Effects = slices.Clone(h.Projections), slices.Clone(h.Effects)
	if p.Worker != nil {
		p.Worker(cfg)
	}
	return nil
}

// panicSite returns the file and line that panicked. The deferred function that recovers must call it directly.
func panicSite() string {
	var callers [16]uintptr
	frames := runtime.CallersFrames(callers[:runtime.Callers(3, callers[:])])
	for {
		frame, more := frames.Next()
		if !strings.HasPrefix(frame.Function, "runtime.") || !more {
			return fmt.Sprintf("%s:%d", filepath.Base(frame.File), frame.Line)
		}
	}
}

// short says in a line what the program is.
func (p *Program) short() string {
	if p.Short != "" {
		return p.Short
	}
	return "Push-driven projections over PostgreSQL"
}

// about is the long help of the program, up to the exit codes.
func (p *Program) about() string {
	text := p.Long
	if text == "" {
		text = p.short()
	}
	return text + about
}

// choices names what a worker can run, as far as it is known.
func (p *Program) choices() string {
	names := p.names()
	if len(names) == 0 {
		return ""
	}
	return ": " + list(names, " or ")
}

// workerHelp is the long help of WorkerVerb.
func (p *Program) workerHelp() string {
	about := "It runs the projections and effects of this program, or those that --projection names, until\nSIGINT or SIGTERM."
	for i, name := range p.names() {
		if i == 0 {
			about += " They are:\n"
		}
		about += "\n  " + name
	}
	return about + `

Several workers share the work: start as many as you like, and each takes its part of the
partitions, gives some up when another one joins, and takes over when one stops or dies.
--worker-id is only the name that a worker is shown under.

With --schemas 'tenant_*' one process works for every schema that matches, on ten connections and
two more, finds new ones while it runs, and leaves those that are gone. One that is broken is
named in the log and at /readyz, and tried again; the others go on. Other processes with the
same --schemas share each of them.

With --total-workers 4 the shares are fixed instead: each of the four gets a --worker-id from 0
to 3, as N or NAME-N, and nobody takes over. The two kinds cannot share a projection.`
}
