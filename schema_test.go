package rouse_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/migrations"
)

// tenant makes another log in a schema of its own, with a table done.
func (b *bundle) tenant(schema string) {
	b.t.Helper()
	name := pgx.Identifier{schema}.Sanitize()
	conn, err := pgx.Connect(b.ctx, b.URL)
	require.NoError(b.t, err)
	defer func() { require.NoError(b.t, conn.Close(b.ctx)) }()
	_, err = conn.Exec(b.ctx, "create schema "+name)
	require.NoError(b.t, err)
	_, err = conn.Exec(b.ctx, "set search_path = "+name)
	require.NoError(b.t, err)
	_, err = migrations.Up(b.ctx, conn)
	require.NoError(b.t, err)
	_, err = conn.Exec(b.ctx, "create table done (n bigint generated always as identity, projection text not null, position bigint not null)")
	require.NoError(b.t, err)
}

// appendTo appends one event to the log of a schema, to an aggregate that all logs have, and returns its position.
func (b *bundle) appendTo(schema, eventType string) int64 {
	b.t.Helper()
	events := pgx.Identifier{schema, "events"}.Sanitize()
	return b.int(`insert into ` + events + ` (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 'thing', 'same', count(*) + 1, '` + eventType + `', '{}' from ` + events + ` returning global_position`)
}

// doneIn are the positions that a projection has handled in a schema, in the order in which it did.
func (b *bundle) doneIn(schema, projection string) []int64 {
	b.t.Helper()
	return b.positions("select position from "+pgx.Identifier{schema, "done"}.Sanitize()+" where projection = $1 order by n", projection)
}

// A handler of a tenant writes to the tenant's tables, whatever else it does with search_path, and the pool's sessions
// go back as they were.
func TestHandlersHaveTheirSchemaFirstInTheirSearchPath(t *testing.T) {
	t.Parallel()
	for name, statements := range map[string][]string{
		"nothing":                       {},
		"for the transaction":           {"set local search_path = elsewhere, public"},
		"for the session":               {"set search_path = elsewhere"},
		"and puts it back":              {"do $$ declare was text := current_setting('search_path'); begin perform set_config('search_path', 'elsewhere', false); perform set_config('search_path', was, false); end $$"},
		"resets it":                     {"reset search_path"},
		"a temporary table beside that": {"create temp table if not exists scratch (n int) on commit drop"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bothForms(t, func(t *testing.T, make func(func(eventstore.Event) []string) rouse.Projection) {
				b := setup(t)
				const schema = `Tenant "1", ü`
				b.tenant(schema)
				b.exec("create schema elsewhere")
				b.exec("create table elsewhere.done (like public.done including all)")
				b.exec("create table public.paths (n bigint generated always as identity, path text)")
				pool := b.pool(pgx.QueryExecModeCacheStatement)
				w := b.start(pool, rouse.Config{Schema: schema, Projections: []rouse.Projection{make(func(ev eventstore.Event) []string {
					if ev.Type != "bends" {
						return nil
					}
					return append([]string{"insert into public.paths (path) values (current_setting('search_path'))"}, statements...)
				})}}).WaitStarted()
				var plain []int64
				for range 3 {
					b.appendTo(schema, "bends")
					require.NoError(t, w.Drain(b.ctx))
					plain = append(plain, b.appendTo(schema, "e"))
					require.NoError(t, w.Drain(b.ctx))
				}
				require.Subset(t, b.doneIn(schema, "p"), plain, "the next transaction has the schema again")
				switch name {
				case "for the transaction", "for the session":
					require.Len(t, b.doneIn("elsewhere", "p"), 3)
				case "resets it":
					require.Len(t, b.done("p"), 3)
				default:
					require.Len(t, b.doneIn(schema, "p"), 6)
					require.Empty(t, b.done("p"))
				}
				require.EqualValues(t, 3, b.int("select count(*) from paths where path = $1", pgx.Identifier{schema}.Sanitize()+`, "$user", public`))
				require.Zero(t, b.int("select count(*) from events"), "the log of search_path is another one")
				require.Zero(t, b.int("select count(*) from "+pgx.Identifier{schema, "parked_events"}.Sanitize()))
				b.unbent(pool)
			})
		})
	}
}

// Two tenants share a pool, and on each connection the statements that the other has prepared. The same aggregates in both
// do not mix.
func TestTwoTenantsOnOnePoolDoNotMix(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			pool := b.poolWith(func(cfg *pgxpool.Config) { cfg.MaxConns, cfg.ConnConfig.DefaultQueryExecMode = 2, mode })
			var workers []*running
			for _, schema := range []string{"tenant_a", "tenant_b"} {
				b.tenant(schema)
				name := func(ctx context.Context, tx pgx.Tx, _ eventstore.Event) error {
					var at string
					if err := tx.QueryRow(ctx, "select current_schema()").Scan(&at); err != nil {
						return err
					}
					if at != schema {
						return rouse.Permanent(fmt.Errorf("a handler of %s works in %s", schema, at))
					}
					return nil
				}
				workers = append(workers, b.start(pool, rouse.Config{Schema: schema, Projections: []rouse.Projection{
					projection{name: "each", hook: name}, batched{projection: projection{name: "all"}},
				}}).WaitStarted())
			}
			want := map[string][]int64{}
			for n := range 20 {
				for i, schema := range []string{"tenant_a", "tenant_b"} {
					for range 1 + (n+i)%2 {
						want[schema] = append(want[schema], b.appendTo(schema, "e"))
					}
					require.NoError(t, workers[i].Drain(b.ctx))
				}
			}
			for schema, positions := range want {
				require.Equal(t, positions, b.doneIn(schema, "each"), schema)
				require.Equal(t, positions, b.doneIn(schema, "all"), schema)
				require.Zero(t, b.int("select count(*) from "+schema+".parked_events"))
			}
			require.Zero(t, b.int("select count(*) from done"))
		})
	}
}

// resetting empties its read model where search_path leads.
type resetting struct{ projection }

func (r resetting) Reset(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, "delete from done where projection = $1", r.name)
	return err
}

func TestResetEmptiesTheReadModelOfItsSchema(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.tenant("tenant_a")
	b.exec("insert into public.done (projection, position) values ('p', 4711)")
	pool := b.pool(pgx.QueryExecModeCacheStatement)
	w := b.start(pool, rouse.Config{Schema: "tenant_a", Projections: []rouse.Projection{resetting{projection{name: "p"}}}}).WaitStarted()
	at := []int64{b.appendTo("tenant_a", "e"), b.appendTo("tenant_a", "e")}
	require.NoError(t, w.Drain(b.ctx))
	b.exec("update tenant_a.projections set reset_to = 0, reset_due_at = null, reset_tries = 0")
	testdb.Eventually(t, patience, "the read model to be made anew", func() (bool, error) {
		return b.int("select count(*) from tenant_a.projections where reset_to is not null") == 0 && b.int("select coalesce(min(n), 0) from tenant_a.done") > 2, nil
	})
	require.NoError(t, w.Drain(b.ctx))
	require.Equal(t, at, b.doneIn("tenant_a", "p"))
	require.Equal(t, []int64{4711}, b.done("p"), "of another schema nothing was touched")
	b.unbent(pool)
}

// A schema that is not there, or has no tables, is refused with what to do.
func TestSchemaThatCannotBeWorkedInIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec("create schema bare")
	for _, schema := range []string{"nowhere", "bare"} {
		w := b.start(b.Pool, rouse.Config{Schema: schema, Projections: []rouse.Projection{projection{name: "p"}}})
		require.ErrorIs(t, w.Wait(), migrations.ErrMissing, "the tables of search_path are not those of the schema")
	}
	for name, fault := range map[string]string{strings.Repeat("x", 64): "longer than 63 bytes", "a\x00": "not UTF-8", "\xff": "not UTF-8"} {
		_, err := rouse.New(b.Pool, rouse.Config{Schema: name, Projections: []rouse.Projection{projection{name: "p"}}})
		require.ErrorIs(t, err, rouse.ErrConfig)
		require.ErrorContains(t, err, fault)
	}
}

// The table of a batch handler is that of its schema from the first event on, also on a connection that has never heard of it.
func TestBatchesFindTheTablesOfTheirSchemaAtTheFirstTry(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.tenant("tenant")
	b.exec("drop table public.done")
	var failures atomic.Int64
	w := b.start(b.pool(pgx.QueryExecModeCacheStatement), rouse.Config{
		Schema: "tenant", Projections: []rouse.Projection{batched{projection: projection{name: "p"}}},
		Observer: rouse.Observer{Failed: func(string, int, error) { failures.Add(1) }},
	}).WaitStarted()
	for range 3 {
		b.appendTo("tenant", "e")
		require.NoError(t, w.Drain(b.ctx))
	}
	require.Len(t, b.doneIn("tenant", "p"), 3)
	require.Zero(t, failures.Load())
}
