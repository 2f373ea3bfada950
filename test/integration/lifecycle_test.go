package integration_test

import (
	"context"
	"errors"
	"go/format"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
	"github.com/rouse-es/rouse/test/checkout"
)

// lifecyclePage is the page of which every command is run. Each of its sections (##) has a database of its own, with a migrated
// schema and no event. In the order of the page:
//
//   - each command of a block of sh is run by a shell, with rouse in its PATH and the address of the database in its environment.
//     A line is a command; one that ends in a backslash goes on in the next. It must end with 0.
//   - each block of sql is sent to the database.
//   - each line of a block of text must be in what the block before it has printed; ... stands for anything.
//   - a block of go must be formatted, alone or as the inside of a function; howto_test.go wants more of it.
//   - a comment <!-- test: STEP --> is a step that readers do not see, see lifecycleSteps.
//
// Blocks of other kinds fail, and so does a command within a sentence whose verb no block and no step runs.
const lifecyclePage = "docs/lifecycle.md"

// lifecycleSteps are the steps that a comment may have, by their first word.
var lifecycleSteps = map[string]func(*lifecycle, string){
	"run":     func(l *lifecycle, command string) { l.sh(command) },                      // a shell command
	"sql":     func(l *lifecycle, sql string) { l.sql(sql) },                             // statements
	"until":   func(l *lifecycle, query string) { l.eventually(patience, query, query) }, // wait until a query returns true
	"worker":  (*lifecycle).startWorker,                                                  // start a worker with handlers, by their names, of lifecycleHandlers
	"stop":    (*lifecycle).stopWorkers,                                                  // stop all workers
	"stopped": (*lifecycle).stopped,                                                      // NAMES: TEXT; stop the worker of these handlers, which ends with an error that has TEXT
	"refused": (*lifecycle).refused,                                                      // NAME: TEXT; a worker of one handler does not start, with such an error
	"exits":   func(l *lifecycle, code string) { l.code, _ = strconv.Atoi(code) },        // the next command ends with that code
	"shows":   func(l *lifecycle, text string) { l.shows(text) },                         // the last block or step has printed a text
}

// lifecycleHandlers put a handler into the configuration of a worker.
var lifecycleHandlers = map[string]func(*rouse.Config){
	"orders": func(c *rouse.Config) { c.Projections = append(c.Projections, lifecycleOrders{"orders"}) },
	"mails":  func(c *rouse.Config) { c.Effects = append(c.Effects, lifecycleMails{"mails"}) },
	"unsaid": func(c *rouse.Config) { c.Effects = append(c.Effects, lifecycleUnsaid{"unsaid"}) },
}

// lifecycleOrders counts the events of each aggregate in a table of its name.
type lifecycleOrders struct{ name string }

func (o lifecycleOrders) Name() string { return o.name }

func (o lifecycleOrders) table() string { return pgx.Identifier{o.name}.Sanitize() }

func (o lifecycleOrders) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	_, err := tx.Exec(ctx, "insert into "+o.table()+" as o values ($1, 1) on conflict (id) do update set events = o.events + 1", ev.AggregateID)
	return err
}

func (o lifecycleOrders) Reset(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, "truncate "+o.table())
	return err
}

// lifecycleUnsaid is an effect that does nothing, and says nothing of where it begins.
type lifecycleUnsaid struct{ name string }

func (u lifecycleUnsaid) Name() string { return u.name }

func (lifecycleUnsaid) Do(context.Context, eventstore.Event) error { return nil }

// lifecycleMails is one that says it.
type lifecycleMails lifecycleUnsaid

func (m lifecycleMails) Name() string { return m.name }

func (lifecycleMails) Do(context.Context, eventstore.Event) error { return nil }

func (lifecycleMails) StartFrom() rouse.Start { return rouse.Now }

// lifecycle is one section under way.
type lifecycle struct {
	*stage
	path    string // of programs, with rouse in front
	printed string // by the last block or step
	code    int    // that the next command is to end with
	workers map[string]*lifecycleWorker
	tested  []string // sources of which each block of go is a part; none: it is only to be formatted
}

// lifecycleWorker is a worker that runs.
type lifecycleWorker struct {
	cancel context.CancelFunc
	ended  chan error
}

func TestLifecyclePageRuns(t *testing.T) {
	t.Parallel()
	playPage(t, lifecyclePage, pathWithRouse(t), "create table orders (id text primary key, events int not null)", nil)
}

// pathWithRouse builds the command and returns a PATH that begins with its folder.
func pathWithRouse(t *testing.T) string {
	t.Helper()
	return filepath.Dir(checkout.Rouse(t)) + string(os.PathListSeparator) + os.Getenv("PATH")
}

// playPage plays each section of a page, in a database with some tables. The blocks of go must stand in the sources that are tested.
func playPage(t *testing.T, page, path, tables string, tested []string) {
	t.Helper()
	text := readText(t, checkout.Root(t), filepath.FromSlash(page))
	sections := regexp.MustCompile(`(?m)^## (.*)$`).FindAllStringSubmatchIndex(text, -1)
	require.NotEmpty(t, sections)
	for i, at := range sections {
		end := len(text)
		if i+1 < len(sections) {
			end = sections[i+1][0]
		}
		t.Run(text[at[2]:at[3]], func(t *testing.T) {
			t.Parallel()
			l := &lifecycle{stage: newStage(t, testdb.New(t)), path: path, workers: map[string]*lifecycleWorker{}, tested: tested}
			l.exec(tables)
			defer l.stopWorkers("")
			for _, p := range lifecyclePieces(text[at[1]:end]) {
				l.play(p)
			}
		})
	}
	t.Run("EveryCommandOfASentence", func(t *testing.T) { requireSentencesCovered(t, text) })
}

// piece is a block of code, or a step.
type piece struct{ kind, text string }

var (
	pieces  = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)\n?^```$|<!-- test: (.*?) -->")
	verbs   = regexp.MustCompile(`(?m)\brouse((?: [a-z][a-z-]*)+)`)
	inWords = regexp.MustCompile("`(rouse [^`]*)`")
)

func lifecyclePieces(text string) (all []piece) {
	for _, m := range pieces.FindAllStringSubmatch(text, -1) {
		if m[3] != "" {
			all = append(all, piece{"step", m[3]})
		} else {
			all = append(all, piece{m[1], m[2]})
		}
	}
	return all
}

// requireSentencesCovered fails for a command within a sentence that is not run anywhere on the page.
func requireSentencesCovered(t *testing.T, text string) {
	run := map[string]bool{}
	for _, p := range lifecyclePieces(text) {
		if p.kind == "sh" || p.kind == "step" {
			for _, m := range verbs.FindAllStringSubmatch(p.text, -1) {
				run[m[1]] = true
			}
		}
	}
	for _, m := range inWords.FindAllStringSubmatch(pieces.ReplaceAllString(text, ""), -1) {
		verb := verbs.FindStringSubmatch(m[1])
		assert.NotNil(t, verb, "%s names no verb", m[1])
		if verb != nil {
			covered := slices.ContainsFunc(slices.Collect(maps.Keys(run)), func(ran string) bool { return strings.HasPrefix(ran+" ", verb[1]+" ") })
			assert.True(t, covered, "no block of the page runs %s", m[1])
		}
	}
}

// play does one piece.
func (l *lifecycle) play(p piece) {
	l.t.Helper()
	switch p.kind {
	case "sh":
		l.printed = ""
		for command := range strings.SplitSeq(strings.ReplaceAll(p.text, "\\\n", ""), "\n") {
			if strings.TrimSpace(command) != "" {
				l.sh(command)
			}
		}
	case "sql":
		l.sql(p.text)
	case "text":
		for line := range strings.SplitSeq(p.text, "\n") {
			l.shows(line)
		}
	case "go":
		formatted, err := format.Source([]byte(p.text))
		require.NoError(l.t, err, p.text)
		require.Equal(l.t, p.text, string(formatted))
		l.requireTested(p.text)
	case "step":
		word, rest, _ := strings.Cut(p.text, " ")
		do, is := lifecycleSteps[word]
		require.True(l.t, is, "there is no step %q", p.text)
		do(l, rest)
	default:
		l.t.Errorf("a block of %q is run by nothing: %s", p.kind, p.text)
	}
}

// sh runs a command, which has to end with l.code.
func (l *lifecycle) sh(command string) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.ctx, readmePatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.WaitDelay = time.Second
	cmd.Env = append(workertest.Environ(), "PATH="+l.path, "DATABASE_URL="+l.URL)
	cmd.Dir = filepath.Dir(l.t.TempDir()) // the same for all commands of a section
	out, err := cmd.CombinedOutput()
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code, err = exit.ExitCode(), nil
	}
	require.NoError(l.t, err, command)
	require.Equal(l.t, l.code, code, "%s\n%s", command, out)
	l.printed += string(out)
	l.code = 0
}

func (l *lifecycle) sql(sql string) {
	l.t.Helper()
	_, err := l.Conn(l.t).PgConn().Exec(l.ctx, sql).ReadAll()
	require.NoError(l.t, err, sql)
}

// shows requires that the last block has printed a line like this one.
func (l *lifecycle) shows(line string) {
	l.t.Helper()
	words := strings.Fields(line)
	for i, word := range words {
		words[i] = strings.ReplaceAll(regexp.QuoteMeta(word), `\.\.\.`, `.*`)
	}
	require.Regexp(l.t, strings.Join(words, `\s+`), l.printed)
}

// run starts a worker with handlers.
func (l *lifecycle) run(names string) *lifecycleWorker {
	l.t.Helper()
	cfg := rouse.Config{Label: "worker-1"}
	for name := range strings.FieldsSeq(names) {
		if add, is := lifecycleHandlers[name]; is {
			add(&cfg)
			continue
		}
		add, is := howtoHandlers[name]
		require.True(l.t, is, "there is no handler %q", name)
		add(l.Pool, &cfg)
	}
	w, err := rouse.New(l.Pool, cfg)
	require.NoError(l.t, err)
	ctx, cancel := context.WithCancel(l.ctx)
	running := &lifecycleWorker{cancel: cancel, ended: make(chan error, 1)}
	l.workers[names] = running
	go func() { running.ended <- w.Run(ctx) }() // stopWorkers waits for it
	select {
	case <-w.Started():
	case err := <-running.ended:
		running.ended <- err
	}
	return running
}

func (l *lifecycle) startWorker(names string) {
	l.t.Helper()
	select {
	case err := <-l.run(names).ended:
		l.t.Fatalf("the worker of %s has ended: %v", names, err)
	default:
	}
}

func (l *lifecycle) stopWorkers(string) {
	l.t.Helper()
	for name, w := range l.workers {
		w.cancel()
		assert.NoError(l.t, <-w.ended, name)
		delete(l.workers, name)
	}
}

func (l *lifecycle) stopped(step string) {
	l.t.Helper()
	name, text, _ := strings.Cut(step, ": ")
	require.Contains(l.t, l.workers, name)
	l.workers[name].cancel()
	l.ends(l.workers[name], name, text)
}

func (l *lifecycle) refused(step string) {
	l.t.Helper()
	name, text, _ := strings.Cut(step, ": ")
	l.ends(l.run(name), name, text)
}

// ends waits for the end of a worker, whose error has to have a text.
func (l *lifecycle) ends(w *lifecycleWorker, name, text string) {
	l.t.Helper()
	select {
	case err := <-w.ended:
		delete(l.workers, name)
		require.ErrorContains(l.t, err, text)
	case <-l.ctx.Done():
		l.t.Fatalf("the worker of %s has not ended", name)
	}
}
