package partition_test

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

const patience = time.Minute

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

func (b *bundle) text(sql string, args ...any) string {
	b.t.Helper()
	var text string
	require.NoError(b.t, b.Pool.QueryRow(b.ctx, sql, args...).Scan(&text))
	return text
}

// ensured creates projection p in a number of partitions.
func (b *bundle) ensured(partitions int) {
	b.t.Helper()
	_, err := partition.Ensure(b.ctx, b.Pool, "p", partitions)
	require.NoError(b.t, err)
}

// member is an instance that has just said that it is there.
func (b *bundle) member(label string, presence int32) partition.Member {
	b.t.Helper()
	m := partition.Member{Instance: eventstore.NewID().String(), Label: label, Presence: presence, Mode: "quiet", States: map[string]string{"p": "live"}}
	require.NoError(b.t, m.Heartbeat(b.ctx, b.Pool))
	return m
}

// present is a member whose presence lock a session of its own holds until the test ends.
func (b *bundle) present(label string, presence int32) partition.Member {
	b.t.Helper()
	_, err := b.Conn(b.t).Exec(b.ctx, "select pg_advisory_lock_shared(1919907152, $1)", presence)
	require.NoError(b.t, err)
	return b.member(label, presence)
}

// claim claims all of p's partitions and returns the leases by partition.
func (b *bundle) claim(m partition.Member, fromTheLiving bool, partitions ...int) map[int]partition.Lease {
	b.t.Helper()
	c := partition.Claim{Projection: "p", Instance: m.Instance, Token: b.token, Partitions: partitions, FromTheLiving: fromTheLiving}
	leases, err := c.Claim(b.ctx, b.Pool)
	require.NoError(b.t, err)
	out := map[int]partition.Lease{}
	for _, l := range leases {
		out[l.Partition] = l
	}
	return out
}

// claimable reports whether m would get any of some partitions that it does not own.
func (b *bundle) claimable(m partition.Member, partitions ...int) bool {
	b.t.Helper()
	standing, err := partition.Look(b.ctx, b.Pool, "p")
	require.NoError(b.t, err)
	free, _ := standing.Free(partitions, m.Instance)
	return free
}

// lockWaits is how many sessions wait for a lock.
func (b *bundle) lockWaits() int64 {
	b.t.Helper()
	return b.int("select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'")
}

// begin opens a transaction on a connection of its own.
func (b *bundle) begin() pgx.Tx {
	b.t.Helper()
	tx, err := b.Conn(b.t).Begin(b.ctx)
	require.NoError(b.t, err)
	return tx
}

// eventuallyInt waits until a query returns a number.
func (b *bundle) eventuallyInt(want int64, sql string, args ...any) {
	b.t.Helper()
	testdb.Eventually(b.t, patience, sql, func() (bool, error) { return b.int(sql, args...) == want, nil })
}
