package catchup_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/internal/testdb"
)

// feed runs a Feed of all slots of the log until the test ends.
func (b *bundle) feed(pool *pgxpool.Pool, cfg catchup.SourceConfig) *catchup.Feed {
	b.t.Helper()
	return b.feedOfMost(pool, cfg, 0)
}

// feedOfMost is feed for a Feed whose batches may have most events.
func (b *bundle) feedOfMost(pool *pgxpool.Pool, cfg catchup.SourceConfig, most int) *catchup.Feed {
	b.t.Helper()
	cfg.Pool = pool
	feed := catchup.NewSource(cfg).Feed(catchup.FeedConfig{Log: b.log, Token: b.token, Slots: allSlots(), MostBatch: most})
	ctx, cancel := context.WithCancel(b.ctx)
	ended := make(chan struct{})
	go func() { defer close(ended); feed.Run(ctx) }()
	b.t.Cleanup(func() {
		cancel()
		for more := true; more; {
			_, more = <-feed.C
		}
		<-ended
	})
	return feed
}

// take returns the next batch of a feed that has events.
func (b *bundle) take(feed *catchup.Feed) catchup.Batch {
	b.t.Helper()
	for {
		select {
		case batch, open := <-feed.C:
			require.True(b.t, open, "%v", feed.Err())
			if len(batch.Events) > 0 {
				return batch
			}
		case <-time.After(patience):
			require.Fail(b.t, "no batch came")
		}
	}
}

// Batches grow while more events wait, and are back at their first size where the horizon was that the feed has read up to.
func TestFeed_BatchesGrowWhileMoreWait(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(b.Pool, 10_000)
	feed := b.feed(b.Pool, catchup.SourceConfig{BatchSize: 100, MostBatch: 1000})
	var sizes []int
	next := int64(1)
	for next <= 10_600 {
		batch := b.take(feed)
		if len(sizes) == 0 { // it has seen how far the log goes
			b.append(b.Pool, 600)
		}
		sizes = append(sizes, len(batch.Events))
		require.Equal(t, next-1, batch.From)
		for _, ev := range batch.Events {
			require.Equal(t, next, ev.GlobalPosition, "in order, each once")
			next++
		}
		require.Equal(t, next-1, batch.To)
	}
	require.Equal(t, []int{100, 400, 400, 400, 400, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000, 300, 100, 400, 100}, sizes)
}

// One Feed may have larger batches than all others. A read brings as many events as before, and so fewer of them.
func TestFeed_MayGrowFurtherThanOthers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(b.Pool, 10_000)
	feed := b.feedOfMost(b.Pool, catchup.SourceConfig{BatchSize: 100, MostBatch: 1000}, 2000)
	var sizes []int
	for at := int64(0); at < 10_000; {
		batch := b.take(feed)
		require.Equal(t, at, batch.From)
		sizes, at = append(sizes, len(batch.Events)), batch.To
	}
	require.Equal(t, []int{100, 400, 400, 400, 400, 1600, 1600, 2000, 2000, 1100}, sizes)
}

// A size that is the only one holds, however many wait.
func TestFeed_BatchesDoNotGrowBeyondTheirSize(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(b.Pool, 3000)
	feed := b.feed(b.Pool, catchup.SourceConfig{BatchSize: 70})
	for at := int64(0); at < 3000; {
		batch := b.take(feed)
		require.LessOrEqual(t, len(batch.Events), 70)
		at = batch.To
	}
}

// A read hands out so many batches and no more, whatever waits and however large they are, so no save meets a snapshot that has been
// open over more saves than that.
func TestReader_FlowsOverSoManyBatches(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.append(b.Pool, 500)
	b.appendLarge(100, 100_000)
	b.append(b.Pool, 500)
	reader := b.reader(b.Pool, 0)
	reader.SetBytes(1 << 20)
	_, first := b.next(reader, 10)
	at, batches, most := first.To, 0, 0
	for at < 1100 {
		handed := 0
		note := func(batch catchup.Batch) {
			require.Equal(t, at, batch.From)
			require.LessOrEqual(t, len(batch.Events), 50)
			require.LessOrEqual(t, bytesOf(batch), 1<<20)
			for i, ev := range batch.Events {
				require.Equal(t, at+1+int64(i), ev.GlobalPosition, "in order, each once")
			}
			at = batch.To
			handed++
		}
		last, err := reader.Flow(b.ctx, 50, 2, note)
		require.NoError(t, err)
		note(last)
		require.LessOrEqual(t, handed, 2)
		batches, most = batches+handed, max(most, handed)
	}
	require.Equal(t, 2, most)
	require.Greater(t, batches, 20)
}

// Half of the bytes of a read is handed out at a time.
func TestReader_FlowsInPartsOfItsBytes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.appendLarge(200, 10_000)
	reader := b.reader(b.Pool, 0)
	reader.SetBytes(400_000)
	b.next(reader, 10)
	handed := []int{}
	last, err := reader.Flow(b.ctx, 1000, 4, func(batch catchup.Batch) { handed = append(handed, bytesOf(batch)) })
	require.NoError(t, err)
	require.Len(t, handed, 2)
	for _, bytes := range handed {
		require.LessOrEqual(t, bytes, 200_000)
		require.Greater(t, bytes, 150_000)
	}
	require.LessOrEqual(t, handed[0]+handed[1]+bytesOf(last), 400_000)
}

// While a handler takes its time, no snapshot of the feed's is open: it would keep what is updated meanwhile, checkpoints first of
// all, from being cleaned up.
func TestFeed_HoldsNoSnapshotWhileAHandlerWorks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.appendLarge(2400, 40_000)
	feed := b.feed(b.pool(modes[0], 4, nil), catchup.SourceConfig{BatchSize: 400, BatchBytes: 1 << 30}) // more than the line holds
	require.Len(t, b.take(feed).Events, 400)
	require.Len(t, b.take(feed).Events, 400) // the first of a read of several, and its handler is at work
	testdb.Eventually(t, patience, "the read to have ended", func() (bool, error) {
		return b.int(`select count(*) from pg_stat_activity
			where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend' and backend_xmin is not null`) == 0, nil
	})
	for range 4 {
		require.Len(t, b.take(feed).Events, 400)
	}
}

// A feed that ends while a read hands out batches ends the read, and gives its connection back.
func TestFeed_EndsAReadThatHandsOut(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.appendLarge(3000, 8000)
	pool := b.pool(modes[0], 4, nil)
	feed := catchup.NewSource(catchup.SourceConfig{Pool: pool, BatchSize: 500}).Feed(catchup.FeedConfig{Log: b.log, Token: b.token, Slots: allSlots()})
	ctx, cancel := context.WithCancel(b.ctx)
	ended := make(chan struct{})
	go func() { defer close(ended); feed.Run(ctx) }()
	b.take(feed)
	b.take(feed)
	cancel()
	<-ended
	require.ErrorIs(t, feed.Err(), context.Canceled)
	testdb.Eventually(t, patience, "its connection to be given back", func() (bool, error) { return pool.Stat().AcquiredConns() == 0, nil })
}
