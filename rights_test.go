package rouse_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/migrations"
)

// workerRights are what a worker needs, as docs/operations.md has them, and the table of the projection in these tests.
var workerRights = []string{
	"select on events", "select on rouse_migrations", "select on sequence events_global_position_seq",
	"select, insert, update on projections", "select, insert, update on projection_checkpoints",
	"select, insert on rouse_incarnation", "update on rouse_restart",
	"select, insert, update, delete on projection_workers", "select, insert, update, delete on parked_events",
	"select, insert, update, delete on event_attempts", "select on rouse_members", "select on retired_projections",
	"select on rouse_retention", "select on rouse_archives", "select, insert on done",
}

// logged is a log that can be read while it is written.
type logged struct {
	mu sync.Mutex // protects b
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// line is the first line that holds all of these texts, "" if there is none yet.
func (l *logged) line(holds ...string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
lines:
	for line := range strings.Lines(l.b.String()) {
		for _, text := range holds {
			if !strings.Contains(line, text) {
				continue lines
			}
		}
		return line
	}
	return ""
}

// says waits for a line that holds all of these texts.
func (l *logged) says(t *testing.T, holds ...string) string {
	t.Helper()
	testdb.Eventually(t, patience, fmt.Sprint("a line that holds ", holds), func() (bool, error) { return l.line(holds...) != "", nil })
	return l.line(holds...)
}

// role makes a role that has the rights of a worker, and a pool whose connections have it.
func (b *bundle) role() (name string, pool *pgxpool.Pool) {
	b.t.Helper()
	name = b.Name + "_worker" // roles are the server's
	b.exec("create role " + name)
	b.t.Cleanup(func() {
		b.exec("drop owned by " + name)
		b.exec("drop role " + name)
	})
	for _, right := range workerRights {
		b.exec("grant " + right + " to " + name)
	}
	cfg, err := pgxpool.ParseConfig(b.URL)
	require.NoError(b.t, err)
	cfg.ConnConfig.RuntimeParams["role"] = name
	cfg.MaxConns = 6
	pool, err = pgxpool.NewWithConfig(b.ctx, cfg)
	require.NoError(b.t, err)
	b.t.Cleanup(pool.Close)
	return name, pool
}

// TestMissingRightIsNamedAtTheStart, instead of being tried for ever: by Run, and by Drain.
func TestMissingRightIsNamedAtTheStart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	role, pool := b.role()
	cfg := rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}}
	b.append("A")
	for _, right := range []string{
		"select on events", "select on sequence events_global_position_seq", "insert on projections", "update on projection_checkpoints",
		"select on rouse_incarnation", "update on rouse_restart", "insert, update on projection_workers", "select on rouse_members",
	} {
		b.exec("revoke " + right + " from " + role)
		privileges, object, _ := strings.Cut(strings.Replace(right, "sequence ", "", 1), " on ")
		err := b.drain(pool, cfg)
		require.ErrorIs(t, err, migrations.ErrRights, right)
		require.ErrorContains(t, err, "grant "+privileges+" on "+strings.Replace(right[len(privileges)+4:], object, "public."+object, 1)+" to "+role)
		require.ErrorIs(t, b.start(pool, cfg).Wait(), migrations.ErrRights, right)
		b.exec("grant " + right + " to " + role)
	}
	require.NoError(t, b.drain(pool, cfg))
	assert.Len(t, b.done("p"), 1)

	b.exec("drop view rouse_members")
	require.ErrorIs(t, b.drain(pool, cfg), migrations.ErrIncomplete)
}

// TestRightThatIsTakenAwayIsAskedForAndMissedNoLonger: it is no fault of the handler's, so nothing stops, and nothing is
// handled twice once the right is back.
func TestRightThatIsTakenAwayIsAskedForAndMissedNoLonger(t *testing.T) {
	t.Parallel()
	const asked = "a right or a part of the schema is missing"
	for _, c := range []struct {
		name, right string
		holds       []string
		p           rouse.Projection
	}{
		{"Events", "select on events", []string{asked, "grant select on public.events to "}, projection{name: "p"}},
		{"Sequence", "select on sequence events_global_position_seq", []string{asked, "grant select on sequence "}, projection{name: "p"}},
		{"Checkpoints", "update on projection_checkpoints", []string{asked, "grant update on public.projection_checkpoints to "}, projection{name: "p"}},
		{"CheckpointsOfABatch", "update on projection_checkpoints", []string{asked, "grant update "}, batched{projection: projection{name: "p"}}},
		{"Members", "select on rouse_members", []string{"the heartbeats are refused", "select on rouse_members"}, projection{name: "p"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			role, pool := b.role()
			log := &logged{}
			w := b.start(pool, rouse.Config{Projections: []rouse.Projection{c.p}, Retry: rouse.RetryPolicy{Tries: 1}, Log: zerolog.New(log)}).WaitStarted()
			first := b.append("A")
			require.NoError(t, w.Drain(b.ctx))
			b.exec("revoke " + c.right + " from " + role)
			second := b.append("A")
			log.says(t, append(c.holds, `"level":"error"`)...)
			b.exec("grant " + c.right + " to " + role)
			require.NoError(t, w.Drain(b.ctx))
			assert.Equal(t, []int64{first, second}, b.done("p"))
			assert.Empty(t, log.line("the projection is stopped"))
			require.NoError(t, w.Stop())
		})
	}
}

// TestRightThatAHandlerLacksIsItsOwnFault, in every way in which a handler can meet it.
func TestRightThatAHandlerLacksIsItsOwnFault(t *testing.T) {
	t.Parallel()
	for _, p := range []rouse.Projection{projection{name: "p"}, batched{projection: projection{name: "p"}}} {
		b := setup(t)
		role, pool := b.role()
		b.exec("revoke insert on done from " + role)
		at := b.append("A")
		err := b.drain(pool, rouse.Config{Projections: []rouse.Projection{p}, Retry: rouse.RetryPolicy{Tries: 1}, OnFailure: rouse.Stop})
		var stopped *rouse.StoppedError
		require.ErrorAs(t, err, &stopped)
		assert.Equal(t, at, stopped.Position)
		assert.ErrorContains(t, err, "permission denied for table done")
	}
}

// TestDrainOfALogThatEndsBeforeTheCheckpointsFails, also where it is empty; no event is blamed for it.
func TestDrainOfALogThatEndsBeforeTheCheckpointsFails(t *testing.T) {
	t.Parallel()
	for _, left := range []int{0, 1} {
		b := setup(t)
		log := &logged{}
		cfg := rouse.Config{Projections: []rouse.Projection{projection{name: "p"}}, Log: zerolog.New(log)}
		b.appendAll("A", "A", "A")
		require.NoError(t, b.drain(b.Pool, cfg))
		b.exec("truncate events restart identity")
		for range left {
			b.append("A")
		}
		err := b.drain(b.Pool, cfg)
		require.ErrorIs(t, err, catchup.ErrLogBehind)
		var stopped *rouse.StoppedError
		require.ErrorAs(t, err, &stopped)
		assert.Zero(t, stopped.Position)
		line := log.says(t, "the projection is stopped", "the log ends before a checkpoint")
		for _, key := range []string{`"position"`, `"aggregate_type"`, `"aggregate_id"`} {
			assert.NotContains(t, line, key)
		}
	}
}
