package projection_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
	"github.com/rouse-es/rouse/partition"
)

func TestMain(m *testing.M) { testdb.Main(m) }

const patience = 3 * time.Minute

type bundle struct {
	*testdb.DB
	ctx   context.Context
	t     *testing.T
	token string
}

func setup(t *testing.T) *bundle {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	b := &bundle{DB: testdb.New(t), ctx: ctx, t: t}
	token, err := catchup.CurrentToken(ctx, b.Pool)
	require.NoError(t, err)
	b.token = string(token)
	return b
}

func (b *bundle) exec(sql string, args ...any) {
	b.t.Helper()
	_, err := b.Pool.Exec(b.ctx, sql, args...)
	require.NoError(b.t, err)
}

func (b *bundle) int(sql string, args ...any) int64 {
	b.t.Helper()
	var n int64
	require.NoError(b.t, b.Pool.QueryRow(b.ctx, sql, args...).Scan(&n))
	return n
}

// ensured creates projection p in a number of partitions.
func (b *bundle) ensured(partitions int) {
	b.t.Helper()
	_, err := partition.Ensure(b.ctx, b.Pool, "p", partitions)
	require.NoError(b.t, err)
}

// member is an instance that has just sent its heartbeat.
func (b *bundle) member(label string) partition.Member {
	b.t.Helper()
	m := partition.Member{Instance: eventstore.NewID().String(), Label: label, Mode: "quiet", States: map[string]string{"p": "live"}}
	require.NoError(b.t, m.Heartbeat(b.ctx, b.Pool))
	return m
}

// claim has m claim some of p's partitions, and returns the leases by partition.
func (b *bundle) claim(m partition.Member, partitions ...int) map[int]partition.Lease {
	b.t.Helper()
	c := partition.Claim{Projection: "p", Instance: m.Instance, Token: b.token, Partitions: partitions}
	leases, err := c.Claim(b.ctx, b.Pool)
	require.NoError(b.t, err)
	out := map[int]partition.Lease{}
	for _, l := range leases {
		out[l.Partition] = l
	}
	return out
}

// begin opens a transaction on a connection of its own.
func (b *bundle) begin() pgx.Tx {
	b.t.Helper()
	tx, err := b.Conn(b.t).Begin(b.ctx)
	require.NoError(b.t, err)
	return tx
}

// lockWaits is how many sessions wait for a lock.
func (b *bundle) lockWaits() int64 {
	b.t.Helper()
	return b.int("select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'")
}
