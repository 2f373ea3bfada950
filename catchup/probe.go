package catchup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/internal/db"
)

// ErrEngine means that the database does not do what the protocol needs, whatever its name and version are.
var ErrEngine = errors.New("catchup: this engine does not do what PostgreSQL does, and events would be lost" +
	" (docs/deployment.md has the engines that work)")

const (
	// MaxProbes is how many sessions are enough to see whether an engine shows the locks of all.
	MaxProbes = 20

	// probeAtOnce is how soon after its taking a lock has to be looked for. Some engines show those of a second before.
	probeAtOnce = 500 * time.Millisecond

	// probeTries is how often the locks are looked for until once it was soon enough.
	probeTries = 3

	// probeTimeout bounds the wait for a connection.
	probeTimeout = 2 * time.Second

	// holdTimeout bounds the statements that take a lock. Behind a pooler that has one connection to the server, and that one is
	// the reader's, they wait for as long as the pooler likes.
	holdTimeout = 5 * time.Second
)

// errNoHolder means that a session that was to hold a lock got no connection from the pooler.
var errNoHolder = errors.New("catchup: there is no second connection to the server")

// Probe judges the engine by what it does. One session begins to read as a Reader does; others, up to holders, take K as an append
// does; then the first has to see all of their locks, at once, and a transaction that has committed since it began. It returns an
// error that wraps ErrEngine if it does not. It takes a connection for each session, as many as the pool has and gives within 2 s, and
// returns how many have held K: 0 if there was only one connection, be it behind a pooler, so that nothing was tried. It leaves nothing behind.
//
// With one holder it makes four round trips, two on each connection.
func Probe(ctx context.Context, d db.DB, log Log, holders int) (held int, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	conns, err := probeConns(ctx, d, min(holders, MaxProbes)+1)
	defer func() {
		for _, conn := range conns {
			conn.Release()
		}
	}()
	if err != nil || len(conns) < 2 { // nobody would hold a lock
		return 0, err
	}
	for range probeTries {
		p := probe{log: log}
		soon, err := p.run(ctx, conns[0], conns[1:])
		if errors.Is(err, errNoHolder) {
			return 0, nil
		}
		if err != nil {
			return len(p.pids), err
		}
		held = len(p.pids)
		if soon {
			break
		}
	}
	return held, nil
}

// probeConns takes n connections, or as many as there are.
func probeConns(ctx context.Context, d db.DB, n int) (conns []*pgxpool.Conn, err error) {
	if pool, is := d.(interface{ Config() *pgxpool.Config }); is {
		n = min(n, int(pool.Config().MaxConns))
	}
	if n < 2 {
		return nil, nil
	}
	acquireCtx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	for range n {
		conn, err := db.Acquire(acquireCtx, d)
		if err != nil && len(conns) == 0 {
			return nil, fmt.Errorf("catchup: connect to probe the engine: %w", err)
		}
		if err != nil { // the pool is in use by others, or the server has no more
			break
		}
		conns = append(conns, conn)
	}
	return conns, nil
}

// probe is one try of Probe.
type probe struct {
	log  Log
	pids []int32 // the server's processes that hold K
	keys []int64 // and under which keys
}

// run makes one try, and reports whether it looked soon enough after the locks were taken.
func (p *probe) run(ctx context.Context, reader *pgxpool.Conn, holders []*pgxpool.Conn) (soon bool, err error) {
	defer func() {
		for _, conn := range append([]*pgxpool.Conn{reader}, holders...) {
			if _, endErr := conn.Exec(ctx, "rollback"); endErr != nil && err == nil {
				err = fmt.Errorf("catchup: end the probe of the engine: %w", endErr)
			}
		}
	}()
	var begin pgx.Batch
	begin.Queue(db.BeginRead)
	db.QueueSettings(&begin, statementTimeout)
	begin.Queue("select pg_current_snapshot()::text")
	if err := reader.SendBatch(ctx, &begin).Close(); err != nil {
		return false, fmt.Errorf("catchup: begin to probe the engine: %w", err)
	}
	began := time.Now()
	var committed string
	for i, conn := range holders {
		var id *string
		if i == 0 {
			id = &committed
		}
		if err := p.hold(ctx, conn, id); err != nil {
			return false, err
		}
	}
	var seen, other int
	var visible bool
	look := sqlProbeLook.In(p.log.Schema)
	if err := reader.QueryRow(ctx, look, p.pids, p.keys, int64(p.log.Events), int64(p.log.Database), committed).Scan(&seen, &other, &visible); err != nil {
		return false, fmt.Errorf("catchup: look for the locks of the probe: %w", err)
	}
	soon = time.Since(began) < probeAtOnce
	switch {
	case seen < len(p.pids) && other == len(p.pids):
		return soon, fmt.Errorf("%w: pg_locks shows the advisory lock of another session in another form, so an open append would not be seen", ErrEngine)
	case seen < len(p.pids):
		return soon, fmt.Errorf("%w: of %d transactions that hold an advisory lock pg_locks shows %d at once, so open appends would not be seen", ErrEngine, len(p.pids), seen)
	case !visible:
		return soon, fmt.Errorf("%w: two statements of one READ COMMITTED transaction share a snapshot, so the second did not see what was committed in between", ErrEngine)
	}
	return soon, nil
}

// hold begins a transaction that holds K. committed, if it is not nil, becomes the id of one that has committed before.
func (p *probe) hold(ctx context.Context, conn *pgxpool.Conn, committed *string) error {
	var batch pgx.Batch
	if committed != nil {
		batch.Queue(db.BeginWrite)
		batch.Queue(sqlProbeCommit.In(p.log.Schema)).QueryRow(func(row pgx.Row) error { return row.Scan(committed) })
		batch.Queue("commit")
	}
	var pid int32
	var key *int64
	batch.Queue(db.BeginRead)
	db.QueueSettings(&batch, statementTimeout)
	hold := sqlProbeHold.In(p.log.Schema)
	batch.Queue(hold, int64(p.log.Sequence), int64(p.log.Events)).QueryRow(func(row pgx.Row) error { return row.Scan(&pid, &key) })
	holdCtx, cancel := context.WithTimeout(ctx, holdTimeout)
	defer cancel()
	if err := conn.SendBatch(holdCtx, &batch).Close(); err != nil {
		var pgErr *pgconn.PgError
		if holdCtx.Err() != nil && ctx.Err() == nil || errors.As(err, &pgErr) && pgErr.Code == db.PoolerRefuses {
			err = fmt.Errorf("%w: %w", errNoHolder, err)
		}
		return fmt.Errorf("catchup: take a lock to probe the engine: %w", err)
	}
	if key != nil {
		p.pids, p.keys = append(p.pids, pid), append(p.keys, *key)
	}
	return nil
}
