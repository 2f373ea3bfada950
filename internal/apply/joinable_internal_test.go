package apply

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

// What sets, begins, ends, locks or listens must not be in one transaction with the statements of other projections.
func TestJoint_TakesOnlyWhatReadsAndWritesRows(t *testing.T) {
	t.Parallel()
	for _, sql := range []string{
		"insert into t values ($1)", "\n\tUPDATE t SET a = 1", "-- name: X :exec\nDelete from t", "/* a */ -- b\n merge into t", "with x as (select 1) select 1",
		"select f($1)", "insert into reset values (1)",
	} {
		require.True(t, isPlain(sql), sql)
	}
	for _, sql := range []string{
		"", "set role x", "SET LOCAL search_path = x", "reset all", "begin", "commit", "end", "rollback", "savepoint a", "listen x", "notify x", "lock t",
		"truncate t", "create temp table t ()", "do $$ begin end $$", "call p()", "a_prepared_statement", "insert", "insert_order", "select-x", "-- select", "/* insert", "/*/ select",
		"update pg_settings set setting = '1' where name = 'work_mem'", "/* /* */ insert into t */ set role x", "select set_config('a', 'b', true)", "with x as (select Set_Config('a', 'b', true)) select 1",
	} {
		require.False(t, isPlain(sql), sql)
	}
	require.True(t, mustGoAlone(&pgx.QueuedQuery{SQL: "select 1", Fn: func(pgx.BatchResults) error { return nil }}), "the handler reads the result")
	require.True(t, mustGoAlone(&pgx.QueuedQuery{SQL: "select 1", Arguments: []any{rewriter{}}}), "another text is sent")
	require.False(t, mustGoAlone(&pgx.QueuedQuery{SQL: "select @a", Arguments: []any{pgx.NamedArgs{"a": 1}}}))
}

type rewriter struct{}

func (rewriter) RewriteQuery(context.Context, *pgx.Conn, string, []any) (string, []any, error) {
	return "set role x", nil, nil
}
