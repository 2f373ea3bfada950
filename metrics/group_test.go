package metrics_test

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/health"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/metrics"
	"github.com/rouse-es/rouse/migrations"
)

// tenant makes a log in a schema of its own.
func (b *testBundle) tenant(schema string) {
	b.t.Helper()
	conn := b.Conn(b.t)
	for _, sql := range []string{"create schema " + schema, "set search_path = " + schema} {
		_, err := conn.Exec(context.Background(), sql)
		require.NoError(b.t, err)
	}
	_, err := migrations.Up(context.Background(), conn)
	require.NoError(b.t, err)
	require.NoError(b.t, conn.Close(context.Background()))
}

// The series of a schema have its name, come with it and go with it, and their number does not follow that of partitions.
func TestGroup_SeriesHaveTheSchemaAndGoWithIt(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.tenant("tenant_a")
	b.tenant("tenant_b")
	pool := b.pool()
	m := metrics.NewGroup(pool)
	g, err := rouse.NewGroup(pool, rouse.GroupConfig{
		Schemas: rouse.SchemasLike(pool, "tenant_*"), FindInterval: 50 * time.Millisecond,
		Worker: func(_ context.Context, schema string) (rouse.Config, error) {
			return rouse.Config{Observer: m.Observer(schema), Projections: []rouse.Projection{things{}}}, nil
		},
	})
	require.NoError(t, err)
	m.Watch(g)
	ready := func() (int, string) {
		rw := httptest.NewRecorder()
		health.GroupHandler(g).ServeHTTP(rw, httptest.NewRequest("GET", "/readyz", nil))
		return rw.Code, rw.Body.String()
	}
	code, body := ready()
	require.Equal(t, 503, code)
	require.Contains(t, body, "the group has not started")
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- g.Run(ctx) }()
	defer func() { cancel(); require.NoError(t, <-ran) }()
	<-g.Started()
	insert := "insert into %.events (aggregate_type, aggregate_id, aggregate_version, event_type, payload) values ('thing', 'a', $1, 'Good', '{}')"
	for version := range 3 {
		b.exec(strings.Replace(insert, "%", pgx.Identifier{"tenant_a"}.Sanitize(), 1), version+1)
	}
	b.exec(strings.Replace(insert, "%", "tenant_b", 1), 1)
	require.NoError(t, g.Drain(ctx))
	testdb.Eventually(t, patience, "what was handled", func() (bool, error) {
		v := groupValues(t, m)
		return v["rouse_events_handled_total{projection=things,schema=tenant_a}"] == 3 && v["rouse_events_handled_total{projection=things,schema=tenant_b}"] == 1 &&
			v["rouse_head_position{schema=tenant_a}"] == 3 && v["rouse_worker_ready{schema=tenant_b}"] == 1 && v["rouse_append_to_handled_seconds{projection=things}"] == 4, nil
	})
	v := groupValues(t, m)
	for name := range v {
		require.NotContains(t, name, "partition=", name)
	}
	of := 0
	for name := range v {
		if strings.Contains(name, "schema=tenant_a") {
			of++
		}
	}
	require.Less(t, of, 60, "series of a schema with one projection")
	require.EqualValues(t, 1, v["rouse_worker_alive"])
	require.EqualValues(t, 1, v["rouse_workers_alive{schema=tenant_a}"])
	b.exec("drop schema tenant_b cascade")
	testdb.Eventually(t, patience, "the schema to be shown no more", func() (bool, error) {
		for name := range groupValues(t, m) {
			if strings.Contains(name, "tenant_b") {
				return false, nil
			}
		}
		return true, nil
	})
	b.tenant("tenant_b")
	testdb.Eventually(t, patience, "the schema to be shown again", func() (bool, error) {
		return groupValues(t, m)["rouse_worker_ready{schema=tenant_b}"] == 1, nil
	})
	code, body = ready()
	require.Equal(t, 200, code, body)
}
