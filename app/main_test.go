package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/internal/workertest"
)

// asProgram makes the test binary be a program that is built with this package: one of programs, by its name.
const asProgram = "APP_TEST_AS_PROGRAM"

// programs are what the test binary can be.
var programs = map[string]func(){
	"shop": func() { Main(shop()) },
	"seed": func() { Main(seed()) },
	"wide": func() { Main(wide()) },
	"twice": func() {
		Main(Config{Projections: []rouse.Projection{counter{"orders"}}, Effects: []rouse.Effect{mails{}, mails{}}})
	},
	"alias": func() {
		Main(Config{WorkerVerb: "project", Commands: []Command{{Name: "worker", Short: "Mine", Run: func(context.Context, Env, []string) error { return nil }}}})
	},
	"clash":   func() { Main(Config{Commands: []Command{{Name: "status", Short: "Mine"}}}) },
	"nothing": func() { Main(Config{Commands: []Command{{Name: "greet", Short: "Greet"}}}) },
	"folder":  func() { Main(Config{Migrations: fstest.MapFS{"a/1.sql": {}, "b/1.sql": {}}}) },
	"down":    func() { Main(Config{Migrations: fstest.MapFS{"1.up.sql": {}, "1.down.sql": {}}}) },
	"goose": func() {
		Main(Config{Migrations: fstest.MapFS{"1.sql": {Data: []byte("-- +goose Up\ncreate table a ();\n-- +goose Down\ndrop table a;\n")}}})
	},
	"nil": func() { Main(Config{Projections: []rouse.Projection{nil}}) },
	"panic": func() {
		Main(Config{
			Projections: []rouse.Projection{counter{"orders"}},
			With: func(_ context.Context, env Env) (Handlers, error) {
				switch env.Schema {
				case "tenant_1":
					panic("no mail server is set")
				case "tenant_2":
					return Handlers{Effects: []rouse.Effect{nil}}, nil
				case "tenant_3":
					return Handlers{Projections: []rouse.Projection{counter{"orders"}}}, nil
				}
				return Handlers{}, nil
			},
			Worker: func(cfg *rouse.Config) { cfg.Projections[0] = counter{"orders"} }, // for each schema, at once
		})
	},
	"acme": acme,
	"slow": func() { Main(slow()) },
	"run":  func() { Run(say) },
}

func TestMain(m *testing.M) {
	if program := programs[os.Getenv(asProgram)]; program != nil {
		program()
		return
	}
	testdb.Main(m)
}

// shop has two projections and an effect, which gets what it needs from With.
func shop() Config {
	return Config{
		Name: "shop", Projections: []rouse.Projection{counter{"orders"}, rouse.Batched(sums{"totals"})},
		With: func(ctx context.Context, env Env) (Handlers, error) {
			if _, err := env.Pool.Exec(ctx, "select 1 from mails"); err != nil {
				return Handlers{}, fmt.Errorf("look for the mails: %w", err)
			}
			return Handlers{Effects: []rouse.Effect{mails{env}}}, nil
		},
	}
}

// seed is a program with migrations and a verb of its own, whose workers have another verb.
func seed() Config {
	files := fstest.MapFS{
		"migrations/0001_orders.sql": {Data: []byte("create table orders (id text primary key, events bigint not null);\n")},
		"migrations/0002_mails.sql":  {Data: []byte("create table totals (id text primary key, events bigint not null);\ncreate table mails (event_id uuid primary key, label text not null);\n")},
		"migrations/README.md":       {Data: []byte("These are migrations.")},
	}
	switch os.Getenv("SEED") {
	case "more":
		files["migrations/0003_more.sql"] = &fstest.MapFile{Data: []byte("alter table orders add more text;\n")}
	case "open":
		files["migrations/0003_open.sql"] = &fstest.MapFile{Data: []byte("create table open () -- and no more")}
	case "dump":
		files["migrations/0003_dump.sql"] = &fstest.MapFile{Data: []byte("select pg_catalog.set_config('search_path', '', false);\ncreate table public.dumped ();\n")}
		files["migrations/0004_behind.sql"] = &fstest.MapFile{Data: []byte("create table behind ();\n")}
	case "changed":
		files["migrations/0001_orders.sql"] = &fstest.MapFile{Data: []byte("create table orders (id text primary key);\n")}
	case "wrong":
		files["migrations/0003_wrong.sql"] = &fstest.MapFile{Data: []byte("create table half ();\n\ninsert into half select nothing from half;\n")}
	case "commits":
		files["migrations/0003_commits.sql"] = &fstest.MapFile{Data: []byte("create table half (); commit;")}
	}
	cfg := shop()
	cfg.Name, cfg.WorkerVerb, cfg.Migrations, cfg.Default = "", "projection-worker", files, []string{"orders"}
	greet := &cobra.Command{Use: "greet NAME", Short: "Greet what is there", Args: cobra.ExactArgs(1)}
	times := greet.Flags().Int("times", 1, "how often")
	greet.RunE = func(cmd *cobra.Command, args []string) error {
		env, done, err := Open(cmd)
		if err != nil {
			return err
		}
		defer done()
		var orders int
		if err := env.Pool.QueryRow(cmd.Context(), "select count(*) from orders").Scan(&orders); err != nil {
			return err
		}
		for range *times {
			fmt.Printf("hello %s, there are %d orders\n", args[0], orders)
		}
		return nil
	}
	cfg.Commands = []Command{{Cobra: greet}, {
		Name: "count", Short: "Count what is named",
		Run: func(ctx context.Context, env Env, args []string) error {
			if len(args) != 1 {
				return errors.New("nothing to count (name a table)")
			}
			var n int
			err := env.Pool.QueryRow(ctx, "select count(*) from "+pgx.Identifier{args[0]}.Sanitize()).Scan(&n)
			fmt.Println(n)
			return err
		},
	}}
	return cfg
}

// wide says itself how its workers are.
func wide() Config {
	return Config{
		Name: "wide", Projections: []rouse.Projection{counter{"orders"}},
		Worker: func(cfg *rouse.Config) { cfg.BatchSize = -1 },
	}
}

// slow is a program whose handlers are not there yet when it is told to stop.
func slow() Config {
	return Config{With: func(ctx context.Context, env Env) (Handlers, error) {
		fmt.Println("waiting for the mail server")
		<-ctx.Done()
		return Handlers{}, fmt.Errorf("reach the mail server: %w", ctx.Err())
	}}
}

// acme is a command line of cobra that has one of ours in it.
func acme() {
	cfg := shop()
	cfg.Name = "events"
	root := &cobra.Command{Use: "acme", SilenceErrors: true}
	root.AddCommand(Cobra(cfg), &cobra.Command{Use: "serve", RunE: func(*cobra.Command, []string) error { return nil }})
	if err := root.Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "acme:", Explain(err))
		os.Exit(ExitCode(err))
	}
}

// tables are those of the shop.
const tables = `create table orders (id text primary key, events bigint not null);
	create table totals (id text primary key, events bigint not null);
	create table mails (event_id uuid primary key, label text not null)`

// counter counts the events of each aggregate in the table of its name.
type counter struct{ name string }

func (c counter) Name() string { return c.name }

func (c counter) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	_, err := tx.Exec(ctx, "insert into "+c.name+" as t values ($1, 1) on conflict (id) do update set events = t.events + 1", ev.AggregateID)
	return err
}

// sums is counter in its queued form.
type sums struct{ name string }

func (s sums) Name() string { return s.name }

func (s sums) Queue(batch *pgx.Batch, ev eventstore.Event) error {
	batch.Queue("insert into "+s.name+" as t values ($1, 1) on conflict (id) do update set events = t.events + 1", ev.AggregateID)
	return nil
}

// mails sends mails into a table.
type mails struct{ env Env }

func (mails) Name() string { return "mails" }

func (m mails) Do(ctx context.Context, ev eventstore.Event) error {
	_, err := m.env.Pool.Exec(ctx, "insert into mails values ($1, $2) on conflict do nothing", ev.ID.String(), m.env.Label)
	return err
}

// say is the whole of a program without verbs.
func say(ctx context.Context, env Env) error {
	if len(os.Args) > 1 && os.Args[1] == "fail" {
		return errors.New("this fails: as it should")
	}
	if len(os.Args) > 1 && os.Args[1] == "wait" {
		fmt.Println("waiting")
		<-ctx.Done()
		return ctx.Err()
	}
	var name string
	if err := env.Pool.QueryRow(ctx, "select current_database()").Scan(&name); err != nil {
		return err
	}
	env.Log.Info().Str("database", name).Msg("asked")
	fmt.Println(name, len(os.Args[1:]))
	return nil
}

const processTimeout = 2 * time.Minute

// start starts a program with only those variables of this process that do not concern it, and kills it at the end of the test.
func start(t testing.TB, program string, env []string, args ...string) *workertest.Program {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(append(workertest.Environ(), asProgram+"="+program), env...)
	cmd.Dir = t.TempDir()
	return workertest.StartProgram(t, cmd)
}

// on is the environment of a program that works on a database.
func on(db *testdb.DB, more ...string) []string {
	return append([]string{"DATABASE_URL=" + db.URL}, more...)
}

// fails runs a program that must fail with a code and, beside logs, one sentence that holds all of these.
func fails(t testing.TB, program string, env []string, args []string, code int, holds ...string) {
	t.Helper()
	p := start(t, program, env, args...)
	assert.Equal(t, code, p.Wait(t), "%s %v", program, args)
	var sentences []string
	for line := range strings.Lines(p.Stderr.String()) {
		if !strings.HasPrefix(line, "{") {
			sentences = append(sentences, line)
		}
	}
	require.Len(t, sentences, 1, "one sentence: %s", &p.Stderr)
	for _, part := range holds {
		assert.Contains(t, sentences[0], part)
	}
	for _, never := range []string{"goroutine ", "Usage:", "s3cret"} {
		assert.NotContains(t, p.Stderr.String(), never)
	}
}

// must runs a program that must succeed, and returns what it printed.
func must(t testing.TB, program string, db *testdb.DB, args ...string) string {
	t.Helper()
	p := start(t, program, on(db), args...)
	require.Zero(t, p.Wait(t), "%s %v: %s", program, args, &p.Stderr)
	return p.Stdout.String()
}

func value[T any](t testing.TB, pool *pgxpool.Pool, sql string, args ...any) T {
	t.Helper()
	var v T
	require.NoError(t, pool.QueryRow(context.Background(), sql, args...).Scan(&v), sql)
	return v
}

// becomes waits until a query yields a value.
func becomes[T comparable](t testing.TB, db *testdb.DB, want T, sql string) {
	t.Helper()
	testdb.Eventually(t, processTimeout, fmt.Sprintf("%s to be %v", sql, want), func() (bool, error) {
		return value[T](t, db.Pool, sql) == want, nil
	})
}

// newShop returns a database with the tables of the shop.
func newShop(t testing.TB) *testdb.DB {
	t.Helper()
	db := testdb.New(t)
	_, err := db.Pool.Exec(context.Background(), tables)
	require.NoError(t, err)
	return db
}
