package rouse_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
)

// kept are the round trips of a worker that save checkpoints.
type kept struct {
	mu    sync.Mutex // protects saves
	saves [][]string
}

func (k *kept) add(texts ...string) {
	if strings.Contains(strings.Join(texts, ";"), "set last_global_position") {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.saves = append(k.saves, texts)
	}
}

// last returns the last of them.
func (k *kept) last() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.saves[len(k.saves)-1]
}

// begun reports whether one of them began with a begin.
func (k *kept) begun() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.ContainsFunc(k.saves, func(texts []string) bool { return strings.HasPrefix(texts[0], "begin") })
}

// kept returns a pool, and what is saved through it.
func (b *bundle) kept(change func(cfg *pgxpool.Config)) (*pgxpool.Pool, *kept) {
	k := &kept{}
	return b.poolWith(func(cfg *pgxpool.Config) {
		cfg.ConnConfig.Tracer = testdb.Sent(k.add)
		if change != nil {
			change(cfg)
		}
	}), k
}

// A batch that reads and writes rows is a transaction by being sent together; one that might tell the difference is begun.
func TestBatchOfRowsIsATransactionWithoutBeginAndCommit(t *testing.T) {
	t.Parallel()
	for sql, begun := range map[string]bool{
		"select 1":                                    false,
		"-- a comment\nselect 1":                      false,
		"select set_config('a.b', 'c', false)":        true,
		"savepoint s":                                 true,
		"set local work_mem = '4MB'":                  true,
		"lock table done in share row exclusive mode": true,
	} {
		t.Run(sql, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			pool, k := b.kept(nil)
			p := batched{projection: projection{name: "p"}, queue: func(batch *pgx.Batch, _ eventstore.Event) error {
				batch.Queue(sql)
				return nil
			}}
			at := b.appendAll("e", "e")
			w := b.start(pool, rouse.Config{Projections: []rouse.Projection{p}}).WaitStarted()
			require.NoError(t, w.Drain(b.ctx))
			require.Equal(t, at, b.done("p"))
			require.Equal(t, begun, strings.HasPrefix(k.last()[0], "begin"), k.last())
			require.Equal(t, begun, k.last()[len(k.last())-1] == "commit", k.last())
		})
	}
}

// Without a begin the defaults of the session would count: the transactions of a role that has others are begun.
func TestTransactionIsReadCommittedAndWritesWhateverTheDefaults(t *testing.T) {
	t.Parallel()
	for _, setting := range []string{"default_transaction_isolation=serializable", "default_transaction_isolation=repeatable\\ read", "default_transaction_read_only=on"} {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.exec("create table seen (isolation text, read_only text)")
			pool, k := b.kept(func(cfg *pgxpool.Config) { cfg.ConnConfig.RuntimeParams["options"] = "-c " + setting })
			b.appendAll("e", "e")
			at := b.append("e")
			w := b.start(pool, rouse.Config{Projections: []rouse.Projection{looking("p")}}).WaitStarted()
			require.NoError(t, w.Drain(b.ctx))
			require.Equal(t, at, b.done("p")[2])
			require.Zero(t, b.int("select count(*) from seen where isolation <> 'read committed' or read_only <> 'off'"))
			require.True(t, strings.HasPrefix(k.last()[0], "begin"), k.last())
			require.Zero(t, b.int("select count(*) from event_attempts"))
		})
	}
}

// looking is a projection that notes what its transactions are like.
func looking(name string) batched {
	return batched{projection: projection{name: name}, queue: func(batch *pgx.Batch, _ eventstore.Event) error {
		batch.Queue("insert into seen values (current_setting('transaction_isolation'), current_setting('transaction_read_only'))")
		return nil
	}}
}

// A function of a handler's that changes the defaults of its session changes no later transaction: that is noticed before anything is done
// in it, and it is begun instead. No try counts.
func TestSessionWithDefaultsOfItsOwnIsNoticed(t *testing.T) {
	t.Parallel()
	for _, setting := range []string{"'default_transaction_isolation', 'serializable'", "'default_transaction_read_only', 'on'"} {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.exec("create table seen (isolation text, read_only text)")
			b.exec("create function spoil() returns text language sql as $$ select set_config(" + setting + ", false) $$")
			pool, k := b.kept(nil)
			p := looking("p")
			queue := p.queue
			p.queue = func(batch *pgx.Batch, ev eventstore.Event) error {
				err := queue(batch, ev)
				batch.Queue("select spoil()")
				return err
			}
			w := b.start(pool, rouse.Config{Projections: []rouse.Projection{p}, Retry: rouse.RetryPolicy{Tries: 1}, OnFailure: rouse.Stop}).WaitStarted()
			require.NoError(t, w.Drain(b.ctx))
			var at []int64
			testdb.Eventually(t, patience, "a session that was spoilt before to be used again", func() (bool, error) {
				at = append(at, b.append("e"))
				return k.begun(), w.Drain(b.ctx)
			})
			require.Equal(t, at, b.done("p"))
			require.Equal(t, int64(len(at)), b.int("select count(*) from seen where isolation = 'read committed' and read_only = 'off'"))
			require.Zero(t, b.int("select count(*) from event_attempts"))
		})
	}
}

// Where pgx may send several statements in one text, or a pooler may deal out the sessions, nobody knows what a batch leaves behind: it is
// begun and committed, and handled as elsewhere.
func TestBatchIsBegunInTheModesForPoolers(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeCacheDescribe} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			pool, k := b.kept(func(cfg *pgxpool.Config) { cfg.ConnConfig.DefaultQueryExecMode = mode })
			w := b.start(pool, rouse.Config{Projections: []rouse.Projection{batched{projection: projection{name: "p"}}}}).WaitStarted()
			at := b.appendAll("e", "e")
			require.NoError(t, w.Drain(b.ctx))
			at = append(at, b.append("e"))
			require.NoError(t, w.Drain(b.ctx))
			require.Equal(t, at, b.done("p"))
			require.True(t, strings.HasPrefix(k.last()[0], "begin"), k.last())
			require.Equal(t, "commit", k.last()[len(k.last())-1], k.last())
		})
	}
}

// What fails a transaction at its end fails one without a commit too, at the Sync: neither effects nor checkpoints are there then, the
// event is to blame, and the others are handled.
func TestDeferredConstraintFailsABatchWithoutACommit(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec("create table parents (id bigint primary key)")
	b.exec("create table children (parent bigint not null references parents deferrable initially deferred)")
	pool, k := b.kept(nil)
	const child, parent = "insert into children values ($1)", "insert into parents select $1 where $2 <> 'orphan'"
	byItself := func(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
		_, err := tx.Exec(ctx, child, ev.GlobalPosition)
		if err == nil {
			_, err = tx.Exec(ctx, parent, ev.GlobalPosition, ev.Type)
		}
		return err
	}
	p := batched{projection: projection{name: "p", hook: byItself}, queue: func(batch *pgx.Batch, ev eventstore.Event) error {
		batch.Queue(child, ev.GlobalPosition)
		batch.Queue(parent, ev.GlobalPosition, ev.Type)
		return nil
	}}
	w := b.start(pool, rouse.Config{Projections: []rouse.Projection{p}, Retry: rouse.RetryPolicy{Tries: 1}, OnFailure: rouse.Park}).WaitStarted()
	at := b.appendAll("e", "e")
	require.NoError(t, w.Drain(b.ctx))
	require.False(t, k.begun(), "all of this is about batches without begin and commit")
	wrong := b.appendAll("e", "orphan", "e")[1]
	at = append(at, wrong-1, wrong+1)
	require.NoError(t, w.Drain(b.ctx))
	require.ElementsMatch(t, at, b.done("p"))
	require.Equal(t, int64(len(at)), b.int("select count(*) from children"))
	require.Equal(t, wrong, b.int("select global_position from parked_events"))
	require.Equal(t, int64(1), b.int("select count(*) from parked_events where last_error like '%foreign key%'"))
}

// losing is a connection that is lost behind the answer to what has had the marker in it: the server has done it, and nobody hears of that.
type losing struct {
	net.Conn
	lose   *atomic.Bool // of all connections: the next one loses the answer
	loses  atomic.Bool  // this one does
	answer []byte
}

// lost is what is in the statements whose answer is lost.
const lost = "of which nobody hears"

func (l *losing) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(lost)) && l.lose.CompareAndSwap(true, false) {
		l.loses.Store(true)
	}
	return l.Conn.Write(p)
}

func (l *losing) Read(p []byte) (int, error) {
	for {
		n, err := l.Conn.Read(p)
		if !l.loses.Load() || err != nil {
			return n, err
		}
		if l.answer = append(l.answer, p[:n]...); bytes.HasSuffix(l.answer, []byte("Z\x00\x00\x00\x05I")) { // ready for the next, in no transaction
			_ = l.Close()
			return 0, io.EOF
		}
	}
}

// A transaction without a commit may be lost from sight at its Sync as another at its commit. Whether it was committed is read from the
// checkpoints then, and its effects are not made again. So it is where projections go together.
func TestBatchOfWhichNobodyHearsIsNotHandledTwice(t *testing.T) {
	t.Parallel()
	for _, names := range [][]string{{"p"}, {"p", "q"}} {
		t.Run(strings.Join(names, " and "), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			var lose atomic.Bool
			pool, k := b.kept(func(cfg *pgxpool.Config) {
				dial := cfg.ConnConfig.DialFunc
				cfg.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
					conn, err := dial(ctx, network, addr)
					return &losing{Conn: conn, lose: &lose}, err
				}
			})
			var all []rouse.Projection
			for _, name := range names {
				all = append(all, batched{projection: projection{name: name}, queue: func(batch *pgx.Batch, ev eventstore.Event) error {
					batch.Queue("select length($1::text)", ev.Type)
					return nil
				}})
			}
			w := b.start(pool, rouse.Config{Projections: all, Retry: rouse.RetryPolicy{Tries: 1}, OnFailure: rouse.Park}).WaitStarted()
			at := b.appendAll("e", "e")
			require.NoError(t, w.Drain(b.ctx))
			require.Equal(t, len(names) > 1, k.begun(), "only those that go together are begun")
			for range 3 {
				lose.Store(true)
				at = append(at, b.append(lost))
				testdb.Eventually(t, patience, "an answer to be lost", func() (bool, error) { return !lose.Load(), nil })
				at = append(at, b.append("e"))
				require.NoError(t, w.Drain(b.ctx))
			}
			for _, name := range names {
				require.Equal(t, at, b.done(name))
			}
			require.Zero(t, b.int("select count(*) from parked_events")+b.int("select count(*) from event_attempts"))
		})
	}
}

// Lanes of one projection send batches side by side, and none looks at a statement that another is sending. The race detector says so.
func TestLanesShareNoStatementOfABatch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	p := batched{projection: projection{name: "p"}, queue: func(batch *pgx.Batch, ev eventstore.Event) error {
		batch.Queue(fmt.Sprint("select ", ev.GlobalPosition%5)) // another statement than that of the event before
		return nil
	}}
	w := b.start(b.Pool, rouse.Config{Projections: []rouse.Projection{p}, Concurrency: 4, Partitions: 8}).WaitStarted()
	var at []int64
	for range 40 {
		at = append(at, b.appendAll("e", "e", "e", "e", "e", "e", "e", "e")...)
	}
	testdb.Eventually(t, patience, "all to be handled", func() (bool, error) { return len(b.done("p")) == len(at), nil })
	require.NoError(t, w.Stop())
	require.ElementsMatch(t, at, b.done("p"))
}
