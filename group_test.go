package rouse_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/migrations"
)

// group is a Group that runs until it is stopped, or its test ends. Its methods are for the goroutine of the test.
type group struct {
	*rouse.Group
	t      *testing.T
	cancel context.CancelFunc
	done   chan struct{}
	err    error // good once done is closed
	log    *bytes.Buffer
}

// tenantConfig has a projection p, which writes done.
func tenantConfig(context.Context, string) (rouse.Config, error) {
	return rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}}, nil
}

// startGroup runs a group of the schemas tenant_*, of which cfg.Worker makes the workers; nil: tenantConfig.
func (b *bundle) startGroup(pool *pgxpool.Pool, cfg rouse.GroupConfig) *group {
	b.t.Helper()
	if cfg.Schemas == nil {
		cfg.Schemas = rouse.SchemasLike(pool, "tenant_*")
	}
	if cfg.Worker == nil {
		cfg.Worker = tenantConfig
	}
	g := &group{t: b.t, done: make(chan struct{}), log: &bytes.Buffer{}}
	cfg.Log = zerolog.New(zerolog.SyncWriter(g.log)).Level(zerolog.WarnLevel)
	made, err := rouse.NewGroup(pool, cfg)
	require.NoError(b.t, err)
	g.Group = made
	ctx, cancel := context.WithCancel(context.Background())
	g.cancel = cancel
	go func() {
		defer close(g.done)
		g.err = made.Run(ctx)
	}()
	b.t.Cleanup(func() {
		cancel()
		<-g.done
		if b.t.Failed() {
			b.t.Logf("the group's log:\n%s", g.log)
		}
	})
	select {
	case <-g.Started():
	case <-g.done:
		b.t.Fatalf("the group ended: %v", g.err)
	case <-time.After(patience):
		b.t.Fatal("the group has not started")
	}
	return g
}

// stop ends the group in order. After that its log may be read.
func (g *group) stop() {
	g.t.Helper()
	g.cancel()
	select {
	case <-g.done:
	case <-time.After(patience):
		g.t.Fatal("the group does not end")
	}
	require.NoError(g.t, g.err)
}

// waitRuns waits until schemas are those of the group whose worker runs.
func (g *group) waitRuns(schemas ...string) {
	g.t.Helper()
	testdb.Eventually(g.t, patience, fmt.Sprintf("workers of %s", schemas), func() (bool, error) {
		var runs []string
		for schema, s := range g.Status().Schemas {
			if s.Err == nil && s.Worker.States["p"] == rouse.StateLive {
				runs = append(runs, schema)
			}
		}
		slices.Sort(runs)
		return slices.Equal(runs, schemas), nil
	})
}

// handles appends to a schema and waits until that is handled.
func (b *bundle) handles(schema string) {
	b.t.Helper()
	at := b.appendTo(schema, "e")
	testdb.Eventually(b.t, patience, "the event of "+schema+" to be handled", func() (bool, error) {
		return slices.Contains(b.doneIn(schema, "p"), at), nil
	})
}

// Aggregates of the same name in two logs, whose positions are the same too, have nothing to do with each other.
func TestGroup_LogsOfTenantsDoNotMix(t *testing.T) {
	t.Parallel()
	b := setup(t)
	schemas := []string{"tenant_a", "tenant_b", "tenant_c"}
	for _, schema := range schemas {
		b.tenant(schema)
	}
	pool := b.poolWith(func(cfg *pgxpool.Config) { cfg.MaxConns = 2 })
	g := b.startGroup(pool, rouse.GroupConfig{Worker: func(_ context.Context, schema string) (rouse.Config, error) {
		name := func(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
			if ev.Type != schema {
				return rouse.Permanent(fmt.Errorf("%s is handed an event of %s", schema, ev.Type))
			}
			return nil
		}
		return rouse.Config{Projections: []rouse.Projection{projection{name: "p", hook: name}}}, nil
	}})
	want := map[string][]int64{}
	for n := range 30 {
		for i, schema := range schemas {
			for range 1 + (n+i)%3 {
				want[schema] = append(want[schema], b.appendTo(schema, schema))
			}
		}
	}
	require.NoError(t, g.Drain(b.ctx))
	for _, schema := range schemas {
		require.Equal(t, want[schema], b.doneIn(schema, "p"), schema)
		require.Zero(t, b.int("select count(*) from "+schema+".parked_events"))
		require.Equal(t, want[schema][0], want["tenant_a"][0], "the positions of each log begin anew")
	}
	status := g.Status()
	for _, schema := range schemas {
		require.Equal(t, status.Instance, status.Schemas[schema].Worker.Instance, "one process has one id")
	}
	g.stop()
	for _, schema := range schemas {
		require.Zero(t, b.int("select count(*) from "+schema+".projection_workers")+b.int("select count(*) from "+schema+".projection_checkpoints where owner is not null"))
	}
	b.unbent(pool)
}

// Whatever one tenant lacks, the others live, and the operator is told once.
func TestGroup_BrokenTenantLeavesTheOthersAlone(t *testing.T) {
	t.Parallel()
	refused := errors.New("no plan was paid for")
	for name, broken := range map[string]struct {
		breaks, mends string // statements before and behind; "": none
		worker        func() (rouse.Config, error)
		says          string
		is            error
	}{
		"without its trigger":   {"alter table tenant_b.events disable trigger rouse_append_before", "alter table tenant_b.events enable always trigger rouse_append_before", nil, "enable always trigger", catchup.ErrUnguarded},
		"without tables":        {"drop table tenant_b.projection_workers cascade", "", nil, "rouse migrate", migrations.ErrIncomplete},
		"without a schema":      {"drop schema tenant_b cascade", "", nil, "", migrations.ErrMissing},
		"never migrated":        {"drop table tenant_b.rouse_migrations", "", nil, "rouse migrate", migrations.ErrMissing},
		"that is refused":       {"", "", func() (rouse.Config, error) { return rouse.Config{}, refused }, "no plan was paid for", refused},
		"that is misconfigured": {"", "", func() (rouse.Config, error) { return rouse.Config{}, nil }, "nothing to do", rouse.ErrConfig},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			for _, schema := range []string{"tenant_a", "tenant_b", "tenant_c"} {
				b.tenant(schema)
			}
			if broken.breaks != "" {
				b.exec(broken.breaks)
			}
			g := b.startGroup(b.pool(pgx.QueryExecModeCacheStatement), rouse.GroupConfig{
				Schemas: func(context.Context) ([]string, error) { return []string{"tenant_a", "tenant_b", "tenant_c"}, nil },
				Worker: func(ctx context.Context, schema string) (rouse.Config, error) {
					if schema == "tenant_b" && broken.worker != nil {
						return broken.worker()
					}
					return tenantConfig(ctx, schema)
				},
			})
			g.waitRuns("tenant_a", "tenant_c")
			b.handles("tenant_a")
			b.handles("tenant_c")
			s := g.Status().Schemas["tenant_b"]
			require.ErrorIs(t, s.Err, broken.is)
			require.False(t, s.Since.IsZero())
			require.True(t, s.Retry.After(s.Since))
			h := g.Health(b.ctx)
			require.True(t, h.Alive(), h.Faults)
			require.True(t, h.Ready(), h.Waits)
			require.Empty(t, h.Schemas["tenant_a"].Waits)
			require.Contains(t, strings.Join(h.Schemas["tenant_b"].Waits, "; "), broken.says)
			testdb.Eventually(t, patience, "another try", func() (bool, error) {
				again := g.Status().Schemas["tenant_b"]
				return again.Err != nil && again.Retry.After(s.Retry), nil
			})
			if broken.mends != "" {
				b.exec(broken.mends)
				g.waitRuns("tenant_a", "tenant_b", "tenant_c")
				b.handles("tenant_b")
			}
			g.stop()
			require.Equal(t, 1, strings.Count(g.log.String(), "the worker of the schema cannot run"), "it is said once")
			require.Contains(t, g.log.String(), `"schema":"tenant_b"`)
		})
	}
}

// A tenant whose log loses a part while it runs, or whose handler is stopped, comes back when that is mended.
func TestGroup_TenantThatBreaksWhileItRunsLeavesTheOthersAlone(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]struct{ breaks, mends string }{
		"the trigger":          {"alter table tenant_b.events disable trigger rouse_append_before", "alter table tenant_b.events enable always trigger rouse_append_before"},
		"the heartbeats":       {"alter table tenant_b.projection_workers rename to hidden", "alter table tenant_b.hidden rename to projection_workers"},
		"the read model":       {"alter table tenant_b.done rename to hidden", "alter table tenant_b.hidden rename to done"},
		"what the handler can": {"insert into tenant_b.events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values ('bad', '1', 1, 'bad', '{}')", "delete from tenant_b.events where event_type = 'bad'"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			for _, schema := range []string{"tenant_a", "tenant_b"} {
				b.tenant(schema)
			}
			g := b.startGroup(b.pool(pgx.QueryExecModeCacheStatement), rouse.GroupConfig{Worker: func(context.Context, string) (rouse.Config, error) {
				bad := func(_ context.Context, _ pgx.Tx, ev eventstore.Event) error {
					if ev.Type == "bad" {
						return rouse.Permanent(errBroken)
					}
					return nil
				}
				return rouse.Config{Projections: []rouse.Projection{projection{name: "p", hook: bad}}, OnFailure: rouse.Stop, LeaseTTL: time.Second}, nil
			}})
			g.waitRuns("tenant_a", "tenant_b")
			b.exec(how.breaks)
			for range 5 {
				b.handles("tenant_a")
			}
			if name == "what the handler can" {
				testdb.Eventually(t, patience, "the handler to be stopped", func() (bool, error) {
					var stopped *rouse.StoppedError
					return errors.As(g.Status().Schemas["tenant_b"].Err, &stopped), nil
				})
			}
			b.exec(how.mends)
			b.handles("tenant_b")
			b.handles("tenant_a")
			g.stop()
		})
	}
}

// Schemas come and go while the group runs.
func TestGroup_FindsNewSchemasAndLeavesThoseThatAreGone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.tenant("tenant_a")
	b.tenant("tenant_b")
	b.tenant("tenant") // which is none of tenant_*
	pool := b.pool(pgx.QueryExecModeCacheStatement)
	g := b.startGroup(pool, rouse.GroupConfig{FindInterval: 100 * time.Millisecond})
	g.waitRuns("tenant_a", "tenant_b")
	b.tenant("tenant_c")
	g.waitRuns("tenant_a", "tenant_b", "tenant_c")
	b.handles("tenant_c")
	b.exec("drop schema tenant_b cascade")
	g.waitRuns("tenant_a", "tenant_c")
	testdb.Eventually(t, patience, "the schema to be left", func() (bool, error) {
		_, known := g.Status().Schemas["tenant_b"]
		return !known, nil
	})
	b.handles("tenant_a")
	b.tenant("tenant_b")
	g.waitRuns("tenant_a", "tenant_b", "tenant_c")
	b.handles("tenant_b")
	// One that is taken off the list and still there is left in order.
	b.exec("alter schema tenant_c rename to former_c")
	g.waitRuns("tenant_a", "tenant_b")
	b.exec("alter schema former_c rename to tenant_c")
	g.waitRuns("tenant_a", "tenant_b", "tenant_c")
	b.handles("tenant_c")
	g.stop()
}

// A stop comes back within the time that handlers have, and with everything given up, however many tenants there are.
func TestGroup_StopGivesEverythingBack(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var schemas []string
	for n := range 12 {
		schemas = append(schemas, fmt.Sprintf("tenant_%02d", n))
		b.tenant(schemas[n])
	}
	in := make(chan string, len(schemas))
	pool := b.poolWith(func(cfg *pgxpool.Config) { cfg.MaxConns = 4 })
	g := b.startGroup(pool, rouse.GroupConfig{Worker: func(_ context.Context, schema string) (rouse.Config, error) {
		slow := func(ctx context.Context, _ pgx.Tx, _ eventstore.Event) error {
			in <- schema
			<-ctx.Done()
			return ctx.Err()
		}
		return rouse.Config{Projections: []rouse.Projection{projection{name: "p", hook: slow}}, StopTimeout: 200 * time.Millisecond}, nil
	}})
	g.waitRuns(schemas...)
	b.appendTo("tenant_03", "e")
	b.appendTo("tenant_07", "e")
	require.ElementsMatch(t, []string{"tenant_03", "tenant_07"}, []string{<-in, <-in})
	g.stop()
	for _, schema := range schemas {
		require.Zero(t, b.int("select count(*) from "+schema+".projection_checkpoints where owner is not null"), schema)
		require.Zero(t, b.int("select count(*) from "+schema+".projection_workers"), schema)
	}
	testdb.Eventually(t, patience, "the pool to have closed what was broken off", func() (bool, error) { return pool.Stat().AcquiredConns() == 0, nil })
	require.Empty(t, b.doneIn("tenant_03", "p"))
}

// Drain runs a group for its duration, and names those that could not do it.
func TestGroup_DrainHandlesWhatIsThereAndNamesTheBroken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.tenant("tenant_a")
	b.tenant("tenant_b")
	b.exec("create schema tenant_bare")
	at := map[string]int64{"tenant_a": b.appendTo("tenant_a", "e"), "tenant_b": b.appendTo("tenant_b", "e")}
	pool := b.pool(pgx.QueryExecModeCacheStatement)
	g, err := rouse.NewGroup(pool, rouse.GroupConfig{Schemas: rouse.SchemasLike(pool, "tenant_*"), Worker: tenantConfig})
	require.NoError(t, err)
	err = g.Drain(b.ctx)
	require.ErrorIs(t, err, migrations.ErrMissing)
	require.ErrorContains(t, err, "tenant_bare")
	for schema, position := range at {
		require.Equal(t, []int64{position}, b.doneIn(schema, "p"))
	}
	require.ErrorIs(t, g.Run(b.ctx), rouse.ErrRunning)
}

// What a group cannot work with is refused at once.
func TestGroup_ConfigThatCannotWorkIsRefused(t *testing.T) {
	t.Parallel()
	_, err := rouse.NewGroup(nil, rouse.GroupConfig{FindInterval: -1})
	require.ErrorIs(t, err, rouse.ErrConfig)
	for _, fault := range []string{"no Schemas", "no Worker", "FindInterval"} {
		require.ErrorContains(t, err, fault)
	}
	b := setup(t)
	for _, schemas := range []func(context.Context) ([]string, error){
		rouse.SchemasLike(b.Pool, ""), rouse.SchemasLike(b.Pool, `a"b`),
		func(context.Context) ([]string, error) { return nil, errBroken },
	} {
		g, err := rouse.NewGroup(b.Pool, rouse.GroupConfig{Schemas: schemas, Worker: tenantConfig})
		require.NoError(t, err)
		require.Error(t, g.Run(b.ctx))
	}
}

// However many schemas there are, the server has a pool and two connections of a group, also when all of them work.
func TestGroup_OfTwentySchemasHasTwoConnectionsBesideItsPool(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var schemas []string
	for n := range 20 {
		schemas = append(schemas, fmt.Sprintf("tenant_%02d", n))
		b.tenant(schemas[n])
	}
	const size = 5
	pool := b.poolWith(func(cfg *pgxpool.Config) {
		cfg.MaxConns, cfg.ConnConfig.RuntimeParams["application_name"] = size, "the group"
	})
	g := b.startGroup(pool, rouse.GroupConfig{})
	g.waitRuns(schemas...)
	most := int64(0)
	for range 3 {
		for _, schema := range schemas {
			b.appendTo(schema, "e")
		}
		require.NoError(t, g.Drain(b.ctx))
		most = max(most, b.int("select count(*) from pg_stat_activity where datname = current_database() and application_name = 'the group'"))
	}
	require.LessOrEqual(t, most, int64(size+2))
	testdb.Eventually(t, patience, "all to be pushed", func() (bool, error) {
		for _, s := range g.Status().Schemas {
			if s.Worker.Mode != "quiet" || !s.Worker.Listening {
				return false, nil
			}
		}
		return true, nil
	})
	require.EqualValues(t, 1, b.int("select count(distinct (classid, objid)) from pg_locks where locktype = 'advisory' and classid = 1919907152 and database = (select oid from pg_database where datname = current_database())"), "one presence")
	for _, schema := range schemas {
		require.Equal(t, []string{g.Status().Instance}, b.texts("select distinct owner::text from "+schema+".projection_checkpoints"))
	}
	g.stop()
	testdb.Eventually(t, patience, "the two connections to be gone", func() (bool, error) {
		return b.int("select count(*) from pg_stat_activity where datname = current_database() and application_name = 'the group' and pid <> all ($1)", b.pids(pool)) == 0, nil
	})
}

// texts are the texts of a query.
func (b *bundle) texts(sql string) []string {
	b.t.Helper()
	rows, err := b.Pool.Query(b.ctx, sql)
	require.NoError(b.t, err)
	texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(b.t, err)
	return texts
}

// pids are the server's processes of the idle connections of a pool.
func (b *bundle) pids(pool *pgxpool.Pool) []int32 {
	pids := []int32{}
	for _, conn := range pool.AcquireAllIdle(b.ctx) {
		pids = append(pids, int32(conn.Conn().PgConn().PID()))
		conn.Release()
	}
	return pids
}

// overheard keeps the texts that the connections of a pool send.
type overheard struct {
	mu    sync.Mutex
	texts []string
}

func (s *overheard) add(texts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.texts = append(s.texts, texts...)
}

// with returns how many of them have a word.
func (s *overheard) with(word string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range s.texts {
		if strings.Contains(text, word) {
			n++
		}
	}
	return n
}

// of returns those that have a word, one after the other.
func (s *overheard) of(word string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(slices.DeleteFunc(slices.Clone(s.texts), func(text string) bool { return !strings.Contains(text, word) }), "\n")
}

// What is the same for all schemas of a group is asked once, and a schema that no other process has costs few questions.
func TestGroup_AsksOnceForAllSchemasAndLittleForEach(t *testing.T) {
	t.Parallel()
	const many = 12
	b := setup(t)
	for n := range many {
		b.tenant(fmt.Sprintf("tenant_%02d", n))
	}
	b.startGroup(b.poolWith(func(cfg *pgxpool.Config) { cfg.MaxConns = 5 }), rouse.GroupConfig{}).stop() // which makes the projections
	for n := range many {
		testdb.Eventually(t, patience, "its members to be gone", func() (bool, error) {
			return b.int(fmt.Sprintf("select count(*) from tenant_%02d.rouse_members where alive", n)) == 0, nil
		})
	}
	var told overheard
	pool := b.poolWith(func(cfg *pgxpool.Config) { cfg.MaxConns, cfg.ConnConfig.Tracer = 5, testdb.Sent(told.add) })
	b.startGroup(pool, rouse.GroupConfig{})
	require.Equal(t, 1, told.with("pg_current_xact_id()"), "the engine is probed once")
	require.Equal(t, many, told.with("with needed (name, privileges)"), "the rights are those of each schema")
	require.LessOrEqual(t, told.with(" || ' ' || d.oid"), 2*many, "the pool and the control connection each say where they lead, once for a log")
	for n := range many {
		before, _, _ := strings.Cut(told.of(fmt.Sprintf("%q", fmt.Sprintf("tenant_%02d", n))), "with living as materialized (\n  select instance_id from")
		require.Equal(t, 1, strings.Count(before, "reset_to is not null and coalesce"), "the shares are looked at once before the claim:\n%s", before)
	}
}
