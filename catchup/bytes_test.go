package catchup_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/catchup"
)

// appendLarge appends n events whose payload has size bytes.
func (b *bundle) appendLarge(n, size int) {
	b.t.Helper()
	b.exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
		select 'thing', gen_random_uuid(), 1, 'e', ('"' || repeat('y', $2::int - 2) || '"')::json from generate_series(1, $1::int)`, n, size)
}

// bytesOf returns the size of the payloads of events.
func bytesOf(batch catchup.Batch) (bytes int) {
	for _, ev := range batch.Events {
		bytes += len(ev.Payload)
	}
	return bytes
}

// A read ends at so many bytes, from the first one on and in every mode, and the next goes on behind it.
func TestReader_EndsAReadAtSoManyBytes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.appendLarge(60, 1<<20)
	b.append(b.Pool, 500)
	b.appendLarge(20, 1<<20)
	for _, mode := range modes {
		pool := b.pool(mode, 2, nil)
		reader := b.reader(pool, 0)
		var seen []int64
		for more := true; more; {
			positions, batch := b.next(reader, 1000)
			require.LessOrEqual(t, bytesOf(batch), catchup.DefaultBytes, "%s", mode)
			require.Equal(t, len(seen), int(batch.From), "each begins where the one before ended")
			seen = append(seen, positions...)
			if len(positions) > 0 {
				require.Equal(t, positions[len(positions)-1], batch.To)
			}
			more = batch.More
		}
		require.Len(t, seen, 580, "%s", mode)
		require.Less(t, pool.Stat().NewConnsCount(), int64(5), "%s: a connection is given up where sizes change, and not at each read", mode)
	}
}

// An event that is larger than all that a read may have comes by itself.
func TestReader_BringsAnEventBeyondTheBoundAlone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(b.Pool, 3)
	b.appendLarge(1, 20<<20)
	b.append(b.Pool, 3)
	reader := b.reader(b.Pool, 0)
	found, _ := b.next(reader, 1000)
	require.Equal(t, []int64{1, 2, 3}, found)
	found, _ = b.next(reader, 1000)
	require.Equal(t, []int64{4}, found)
	for _, want := range [][]int64{{5}, {6, 7}} { // and the number of events grows again
		found, _ = b.next(reader, 1000)
		require.Equal(t, want, found)
	}
}

// A glance that meets many large events hands out the first of them.
func TestReader_GlanceEndsAtSoManyBytes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	reader := b.reader(b.Pool, 0)
	b.next(reader, 1000)
	b.appendLarge(40, 1<<20)
	batch, ok, err := reader.Glance(b.ctx, false)
	require.NoError(t, err)
	require.True(t, ok)
	require.NotEmpty(t, batch.Events)
	require.LessOrEqual(t, bytesOf(batch), catchup.DefaultBytes)
	require.True(t, batch.More)
	n := len(batch.Events)
	for batch.More {
		_, batch = b.next(reader, 1000)
		n += len(batch.Events)
	}
	require.Equal(t, 40, n)
}

// slowLine is a connection through which only so many bytes a second come.
type slowLine struct {
	net.Conn
	perSecond int
}

func (l slowLine) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p[:min(len(p), 16<<10)])
	time.Sleep(time.Duration(n) * time.Second / time.Duration(l.perSecond)) // which is what the line is like
	return n, err
}

// over makes the connections of a pool slow lines.
func over(perSecond int) func(cfg *pgxpool.Config) {
	return func(cfg *pgxpool.Config) {
		cfg.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
			return slowLine{conn, perSecond}, err
		}
	}
}

// An event that does not come in the time of one read comes in the time of a later one, though each is another reader's.
func TestReader_GivesAnEventThatDidNotComeMoreTime(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.appendLarge(3, 300_000)
	pool := b.pool(pgx.QueryExecModeCacheStatement, 8, over(300_000)) // pgx keeps the place of a connection for a while that it has cut off
	patient := catchup.Patient(400 * time.Millisecond)                // the event takes a second
	timeouts := 0
	for {
		reader := b.reader(pool, 0)
		patient(reader)
		batch, err := reader.Next(b.ctx, 1000)
		if err == nil {
			require.Len(t, batch.Events, 1, "the read is smaller than the first")
			break
		}
		require.ErrorIs(t, err, catchup.ErrSlow)
		timeouts++
		require.Less(t, timeouts, 5)
	}
	require.Positive(t, timeouts)
}

// On a line that brings less than a batch in the time of a read, the read hands out what has come, and does not begin anew.
func TestReader_HandsOutWhatASlowLineBrings(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.appendLarge(300, 60_000)
	reader := b.reader(b.pool(pgx.QueryExecModeCacheStatement, 2, over(500_000)), 0)
	positions, batch := b.next(reader, 1000)
	require.NotEmpty(t, positions)
	require.True(t, batch.More)
	// What begins anew takes as long each time; a machine that is busy may need another try.
	took := catchup.ReadTimeout
	for try := 0; try < 5 && took >= catchup.ReadTimeout/2; try++ {
		began := time.Now()
		again, next := b.next(reader, 1000)
		took = time.Since(began)
		require.NotEmpty(t, again)
		require.Equal(t, batch.To+1, again[0])
		batch = next
	}
	require.Less(t, took, catchup.ReadTimeout/2)
}
