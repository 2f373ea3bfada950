package rousetest_test

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/migrations"
	"github.com/rouse-es/rouse/rousetest"
)

func TestNew_EachDatabaseIsMigratedAndAloneAndGoneAfterItsTest(t *testing.T) {
	t.Parallel()
	cfg := rousetest.Config{
		Migrations: fstest.MapFS{
			"0002_fill.sql":   {Data: []byte("insert into shop values (1); insert into shop values (2);")},
			"0001_create.sql": {Data: []byte("create table shop (id int)")},
			"README.md":       {Data: []byte("no SQL")},
		},
		SQL: "create table more (); create view seen as select count(*) as n from shop",
	}
	var urls []string
	for range 5 {
		r := testdb.Record(t, func(t testing.TB) {
			db := rousetest.New(t, cfg)
			urls = append(urls, db.URL)
			require.NoError(t, migrations.Check(t.Context(), db.Pool))
			db.Expect(t, "select n from seen", rousetest.Row{2})
			_, err := db.Pool.Exec(t.Context(), "delete from shop")
			require.NoError(t, err)
		})
		require.Empty(t, r.Failures)
	}
	require.Len(t, map[string]bool{urls[0]: true, urls[1]: true, urls[2]: true, urls[3]: true, urls[4]: true}, 5)
	last := rousetest.New(t, cfg)
	testdb.Eventually(t, patience, "the databases before to be dropped", func() (bool, error) {
		var left int
		err := last.Pool.QueryRow(t.Context(), `select count(*) from unnest($1::text[]) as u (url) join pg_database on url like '%/' || datname || '?%' or url like '%/' || datname`,
			urls[:4]).Scan(&left)
		return left == 0, err
	})
}

func TestNew_SaysWhichOfTheMigrationsIsWrong(t *testing.T) {
	t.Parallel()
	for says, cfg := range map[string]rousetest.Config{
		"0001_wrong.sql":              {Migrations: fstest.MapFS{"0001_wrong.sql": {Data: []byte("create tabel x ()")}}},
		"Config.SQL: ERROR":           {SQL: "nonsense"},
		"no file that ends with .sql": {Migrations: fstest.MapFS{"README.md": {}}},
	} {
		_, err := rousetest.Open(cfg)
		require.ErrorContains(t, err, says)
		require.ErrorContains(t, err, "rousetest: ")
	}
}

func TestClose_ConnectionThatIsStillInUseIsSaid(t *testing.T) {
	t.Parallel()
	db, err := rousetest.Open(rousetest.Config{})
	require.NoError(t, err)
	conn, err := db.Pool.Acquire(t.Context())
	require.NoError(t, err)
	require.ErrorContains(t, db.Close(), "1 connections of the pool are still in use")
	conn.Release()
}
