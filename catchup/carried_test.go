package catchup_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/migrations"
)

// ears hears what the pushes of a log carry, as an armed process does.
type ears struct {
	*bundle
	conn *pgx.Conn
}

// carrying has the pushes of the log carry events, and hears them.
func carrying(t *testing.T) *ears {
	t.Helper()
	b := setup(t)
	require.NoError(t, migrations.Carry(b.ctx, b.Conn(t), true, nil))
	return b.ears()
}

func (b *bundle) ears() *ears {
	b.t.Helper()
	e := &ears{bundle: b, conn: b.Conn(b.t)}
	var arm string
	require.NoError(b.t, e.conn.QueryRow(b.ctx, `select format('listen rouse_%s; select pg_advisory_lock_shared(1919907155, %s::bigint::int)', oid, oid)
		from pg_class where oid = 'events'::regclass`).Scan(&arm))
	_, err := e.conn.Exec(b.ctx, arm, pgx.QueryExecModeSimpleProtocol)
	require.NoError(b.t, err)
	return e
}

// hear returns the payload of the next push.
func (e *ears) hear() string {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.ctx, patience)
	defer cancel()
	n, err := e.conn.WaitForNotification(ctx)
	require.NoError(e.t, err)
	return n.Payload
}

// carried is a reader's answer to payloads.
func (e *ears) carried(r *catchup.Reader, payloads ...string) ([]int64, bool) {
	e.t.Helper()
	b, ok := r.Carried(e.ctx, payloads)
	positions := []int64{}
	for _, ev := range b.Events {
		positions = append(positions, ev.GlobalPosition)
	}
	return positions, ok
}

func TestCarried_FirstTry(t *testing.T) {
	t.Parallel()
	e := carrying(t)
	reader := e.reader(e.Pool, 0)
	want := e.append(e.Pool, 3)
	p := e.hear()
	t.Log(p)
	got, ok := e.carried(reader, p)
	require.True(t, ok)
	require.Equal(t, want, got)
}
