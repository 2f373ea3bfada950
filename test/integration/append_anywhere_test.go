package integration_test

import (
	"errors"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/test/checkout"
)

// Each block of SQL of the page is sent to one session, in the order of the page. A comment <!-- test: CODE --> says that the next block fails
// with that SQLSTATE, and <!-- test: again --> sends the last block once more, which must append nothing.
func TestAppendFromAnywherePageRuns(t *testing.T) {
	t.Parallel()
	text := readText(t, checkout.Root(t), filepath.FromSlash("docs/howto/append-from-anywhere.md"))
	s := newStage(t, testdb.New(t))
	conn := s.Conn(t)
	run := func(sql string) (code string) {
		_, err := conn.PgConn().Exec(s.ctx, sql).ReadAll()
		var refused *pgconn.PgError
		if errors.As(err, &refused) {
			return refused.Code
		}
		require.NoError(t, err, sql)
		return ""
	}
	last, code, blocks := "", "", 0
	for _, p := range regexp.MustCompile("(?ms)^```sql\n(.*?)\n^```$|<!-- test: (.*?) -->").FindAllStringSubmatch(text, -1) {
		switch sql, step := p[1], p[2]; {
		case step == "again":
			before := s.int("select count(*) from events")
			require.Empty(t, run(last))
			require.Equal(t, before, s.int("select count(*) from events"))
		case step != "":
			code = step
		default:
			require.Equal(t, code, run(sql), sql)
			last, code = sql, ""
			blocks++
		}
	}
	assert.Equal(t, 6, blocks, "every block was found")
	assert.Equal(t, strings.Count(text, "```sql\n"), blocks)
	for stream, want := range map[eventstore.Stream][]string{
		{Type: "order", ID: "42"}:                                     {"OrderPlaced", "OrderPaid"},
		{Type: "sensor", ID: "7"}:                                     {"Measured", "Measured", "Failed"},
		{Type: "message", ID: "0198c1f2-6b1e-7a40-9c55-2f8e6d1b7a03"}: {"Received"},
	} {
		events, err := eventstore.ReadStream(s.ctx, s.Pool, stream, eventstore.ReadOptions{})
		require.NoError(t, err)
		var have []string
		for i, ev := range events {
			assert.EqualValues(t, i+1, ev.AggregateVersion)
			have = append(have, ev.Type)
		}
		assert.Equal(t, want, have)
	}
}
