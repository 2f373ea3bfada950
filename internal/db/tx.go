package db

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

//go:embed sql/*.sql
var files embed.FS

var (
	sqlSettings   = Load(files, "settings")
	sqlSettingsTx = Load(files, "settings_tx")
)

const (
	// Timeout bounds one statement of the worker's own.
	Timeout = 10 * time.Second

	// LockTimeout bounds the wait of such a statement for a lock, such as the one of a save in flight. A session that holds on
	// for longer is frozen, or its handler is slow; the caller tries again.
	LockTimeout = 5 * time.Second

	// IdleTimeout is how long the server keeps a transaction of the worker's own whose process sends nothing, because it is frozen
	// or cut off, and in which no handler works: the shortest lease is as long again after its last heartbeat, so that whoever takes
	// its partitions finds their rows free.
	IdleTimeout = 2 * time.Second

	// readTries is how many sessions a read meets that the server has ended while they lay in the pool, before that is an error:
	// those that a small pool has.
	readTries = 5
)

// BeginWrite and BeginRead begin a transaction whatever the defaults of the session are.
const (
	BeginWrite = "begin isolation level read committed read write"
	BeginRead  = "begin isolation level read committed read only"
)

// ErrStandby means that a transaction of the worker's own was refused at its beginning, by the database or by the worker: the
// database can only be read.
var ErrStandby = errors.New("the database is read-only: it is a standby, or became one (connect to the primary)")

// BeginError returns the error of a begin with its meaning.
func BeginError(err error) error {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && (pgErr.Code == "0A000" || pgErr.Code == "25006") { // feature_not_supported, read_only_sql_transaction
		return fmt.Errorf("%w: %w", ErrStandby, err)
	}
	return err
}

// PoolerRefuses is the SQLSTATE by which PgBouncer, and what is made like it, refuses: it has no connection to give, lets nobody
// else in, or does not do what is asked in its mode. PostgreSQL itself has it for clients that break the protocol.
const PoolerRefuses = "08P01" // protocol_violation

// IsStandby reports whether err came of a session that leads to a standby, or to a database that can only be read. A name that
// follows a switchover late leads there, and so do sessions that were opened meanwhile, for as long as they live.
func IsStandby(err error) bool {
	var pgErr *pgconn.PgError
	if errors.Is(err, ErrStandby) {
		return true
	}
	if !errors.As(err, &pgErr) {
		return false
	}
	return pgErr.Code == "25006" || // read_only_sql_transaction
		pgErr.Code == "0A000" && pgErr.Routine == "get_relation_info" // an unlogged table, whose content only the primary has
}

// QueueSettings queues the settings of a transaction of the worker's own. Their result is ErrStandby where it leads to a standby.
func QueueSettings(batch *pgx.Batch, timeout time.Duration) {
	batch.Queue(sqlSettings.In(""), Milliseconds(timeout), Milliseconds(LockTimeout)).QueryRow(checkSettings)
}

// checkSettings reads the result of the settings.
func checkSettings(row pgx.Row) error {
	var standby bool
	if err := row.Scan(nil, &standby); err != nil {
		return err
	}
	if standby {
		return ErrStandby
	}
	return nil
}

// Milliseconds returns d as PostgreSQL reads it.
func Milliseconds(d time.Duration) string {
	var text [24]byte // as long as it can be
	return string(append(strconv.AppendInt(text[:0], d.Milliseconds(), 10), "ms"...))
}

// Sender is a pool or a connection.
type Sender interface {
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// Exec runs one statement in a transaction of its own that may write, in one round trip.
func Exec(ctx context.Context, s Sender, sql string, args ...any) error {
	return run(ctx, s, BeginWrite, sql, args, func(results pgx.BatchResults) error {
		_, err := results.Exec()
		return err
	})
}

// QueryRow runs one statement in a read-only transaction of its own, in one round trip, and scans its one row into into. It
// returns pgx.ErrNoRows if there is none.
func QueryRow(ctx context.Context, s Sender, into []any, sql string, args ...any) error {
	return run(ctx, s, BeginRead, sql, args, func(results pgx.BatchResults) error { return results.QueryRow().Scan(into...) })
}

// WriteRow is QueryRow in a transaction that may write.
func WriteRow(ctx context.Context, s Sender, into []any, sql string, args ...any) error {
	return run(ctx, s, BeginWrite, sql, args, func(results pgx.BatchResults) error { return results.QueryRow().Scan(into...) })
}

// Query runs one statement in a read-only transaction of its own, in one round trip, and calls collect with its rows, which
// closes them.
func Query(ctx context.Context, s Sender, collect func(pgx.Rows) error, sql string, args ...any) error {
	return run(ctx, s, BeginRead, sql, args, func(results pgx.BatchResults) error {
		rows, err := results.Query()
		if err != nil {
			return err
		}
		return collect(rows)
	})
}

func run(ctx context.Context, s Sender, begin, sql string, args []any, read func(pgx.BatchResults) error) error {
	pool, is := s.(Acquirer)
	if !is {
		return runOn(ctx, s, begin, sql, args, read)
	}
	pass, err := Enter(ctx, pool)
	if err != nil {
		return err
	}
	defer pass.Leave()
	for tries := 1; ; tries++ {
		conn, err := Acquire(ctx, pool)
		if err != nil {
			return err
		}
		began := false
		err = runOn(ctx, conn, begin, sql, args, func(results pgx.BatchResults) error {
			began = true
			return read(results)
		})
		ended := conn.Conn().IsClosed() && !began // it had ended while it lay in the pool, which shows at its next use
		conn.Release()
		if err == nil || !ended || begin != BeginRead || tries == readTries || ctx.Err() != nil {
			return err
		}
	}
}

// runOn is run on one connection.
func runOn(ctx context.Context, s Sender, begin, sql string, args []any, read func(pgx.BatchResults) error) error {
	var batch pgx.Batch
	batch.Queue(begin)
	QueueSettings(&batch, Timeout)
	batch.Queue(sql, args...)
	batch.Queue("commit")
	results := s.SendBatch(ctx, &batch)
	var err error
	if _, err = results.Exec(); err != nil {
		err = BeginError(err)
	} else if err = checkSettings(results.QueryRow()); err == nil {
		err = read(results)
	}
	closeErr := results.Close()
	if closeErr != nil && (err == nil || errors.Is(err, pgx.ErrNoRows)) {
		err = closeErr
	}
	return err
}

// Tx calls f in a transaction that commits synchronously, for what must outlive a crash of the server, such as a new owner of a
// partition: an epoch that a crash took back would be given out twice. It commits if f returns nil, and else rolls back and
// returns f's error. The server ends it once nothing has been sent for IdleTimeout.
func Tx(ctx context.Context, d DB, f func(tx pgx.Tx) error) error {
	pass, err := Enter(ctx, d)
	if err != nil {
		return err
	}
	defer pass.Leave()
	begun := false
	conn, err := Acquire(ctx, d)
	if err != nil {
		return BeginError(err)
	}
	defer conn.Release()
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite}, func(tx pgx.Tx) error {
		begun = true
		var batch pgx.Batch
		QueueSettings(&batch, Timeout)
		batch.Queue(sqlSettingsTx.In(""), Milliseconds(IdleTimeout))
		if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
			return err
		}
		return f(tx)
	})
	if !begun {
		return BeginError(err)
	}
	return err
}

// TxBatch sends the statements that queue queues in a transaction as that of Tx, in one round trip: the commit goes with them, so
// what must not be committed has to raise in the server. It returns the first error of a statement, or of the function that reads
// its results.
func TxBatch(ctx context.Context, d DB, queue func(batch *pgx.Batch)) error {
	pass, err := Enter(ctx, d)
	if err != nil {
		return err
	}
	defer pass.Leave()
	conn, err := Acquire(ctx, d)
	if err != nil {
		return BeginError(err)
	}
	defer conn.Release()
	var batch pgx.Batch
	batch.Queue(BeginWrite).Fn = func(results pgx.BatchResults) error {
		_, err := results.Exec()
		return BeginError(err)
	}
	QueueSettings(&batch, Timeout)
	batch.Queue(sqlSettingsTx.In(""), Milliseconds(IdleTimeout))
	queue(&batch)
	batch.Queue("commit")
	err = conn.SendBatch(ctx, &batch).Close()
	if err != nil && conn.Conn().PgConn().TxStatus() != 'I' && !conn.Conn().IsClosed() {
		rollbackCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), Timeout)
		defer cancel()
		_, _ = conn.Exec(rollbackCtx, "rollback") // or the pool throws the connection away
	}
	return err
}
