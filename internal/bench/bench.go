package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse/internal/randid"
	"github.com/rouse-es/rouse/migrations"
)

const (
	// statementTimeout bounds every statement but the two that go over a whole history, for which longTimeout is: some ten
	// million events.
	statementTimeout = time.Minute
	longTimeout      = 10 * time.Minute

	// poolSize is for the worker, which needs three connections, and for what is asked beside it.
	poolSize = 8

	// batchSize is how many events a floor handles at once: the default of a worker.
	batchSize = 1000
)

// ErrUnhandled means that there are events without their effect, so that what was measured is no result.
var ErrUnhandled = errors.New("bench: not every event was handled, so nothing is measured (please report this)")

// Config says where to measure.
type Config struct {
	// Connect is how connections are made. The role must be allowed to create schemas in the database. Everything happens in
	// a new schema; what search_path says is replaced.
	Connect *pgxpool.Config

	// Own tells that the server is there for the benchmark alone: its settings may be changed and checkpoints forced.
	Own bool

	// Progress, if not nil, is told how much of the work is done, on the goroutine that measures. It must not wait.
	Progress func(done, total int64)

	// Log gets what the measured worker logs. The zero value is silent.
	Log zerolog.Logger
}

// Server is what the numbers depend on.
type Server struct {
	Version  string            `json:"version"`
	Settings map[string]string `json:"settings"`
	Machine  Machine           `json:"machine"` // of this process
}

// Describe asks a server what numbers taken on it depend on.
func Describe(ctx context.Context, conn *pgx.Conn) (Server, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	s := Server{Machine: ThisMachine()}
	err := conn.QueryRow(ctx, sqlSettings).Scan(&s.Version, &s.Settings)
	return s, err
}

// Bench is a schema to measure in. Its methods are called one at a time, and Close at the end.
type Bench struct {
	cfg    Config
	schema string
	pool   *pgxpool.Pool
	server Server
	round  int       // how many have begun, over all parts
	idle   *sleepers // processes beside what is measured; nil: none
	timed  int64     // events that Latency has timed of each side
	wire   *wire     // counts what the connections of connect send; nil: nobody does
}

// Open creates the schema. Whatever the error, nothing is left behind.
func Open(ctx context.Context, cfg Config) (*Bench, error) {
	cfg.Connect = cfg.Connect.Copy()
	b := &Bench{cfg: cfg, schema: "rouse_bench_" + randid.Hex(6)}
	cfg.Connect.ConnConfig.RuntimeParams["search_path"] = b.schema
	cfg.Connect.MaxConns = max(cfg.Connect.MaxConns, poolSize)
	if b.cfg.Progress == nil {
		b.cfg.Progress = func(int64, int64) {}
	}
	var err error
	if b.pool, err = pgxpool.NewWithConfig(ctx, cfg.Connect); err != nil {
		return nil, err
	}
	if err := b.pool.Ping(ctx); err != nil {
		b.pool.Close()
		return nil, err
	}
	// A cancelled statement may still be carried out. Here that would be a schema that appears after it was dropped.
	prepareCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statementTimeout)
	defer cancel()
	if err := b.prepare(prepareCtx); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	if err := ctx.Err(); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

func (b *Bench) prepare(ctx context.Context) error {
	conn, err := b.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, "create schema "+pgx.Identifier{b.schema}.Sanitize()); err != nil {
		return err
	}
	if _, err := migrations.Up(ctx, conn.Conn()); err != nil {
		return err
	}
	if err := b.script(ctx, conn.Conn(), sqlCreate); err != nil {
		return err
	}
	b.server, err = Describe(ctx, conn.Conn())
	return err
}

// Schema is the name of the schema, for whoever wants to look into it.
func (b *Bench) Schema() string { return b.schema }

// Close drops the schema, whatever happened before. It must be called when no method of b runs any more.
func (b *Bench) Close() error {
	b.pool.Close()
	ctx, cancel := context.WithTimeout(context.Background(), statementTimeout)
	defer cancel()
	drop := "drop schema if exists " + pgx.Identifier{b.schema}.Sanitize() + " cascade"
	conn, err := b.connect(ctx)
	if err == nil {
		defer closeConn(conn)
		_, err = conn.Exec(ctx, drop)
	}
	if err != nil {
		return fmt.Errorf("bench: the schema %s is still there (drop it yourself: %s): %w", b.schema, drop, err)
	}
	return nil
}

// script runs statements without parameters, by the simple protocol.
func (b *Bench) script(ctx context.Context, conn *pgx.Conn, statements string) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	_, err := conn.PgConn().Exec(ctx, statements).ReadAll()
	return err
}

// exec runs statements, each without parameters and in a transaction of its own.
func (b *Bench) exec(ctx context.Context, timeout time.Duration, statements ...string) error {
	for _, sql := range statements {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		_, err := b.pool.Exec(ctx, sql)
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

// number reads one number.
func (b *Bench) number(ctx context.Context, sql string, args ...any) (n int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, longTimeout)
	defer cancel()
	err = b.pool.QueryRow(ctx, sql, args...).Scan(&n)
	return n, err
}

// connect opens a connection beside the pool; the caller closes it.
func (b *Bench) connect(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	cfg := b.cfg.Connect.ConnConfig
	if b.wire != nil {
		cfg = cfg.Copy()
		b.wire.on(cfg)
	}
	return pgx.ConnectConfig(ctx, cfg)
}

// closeConn says goodbye to the server, for which it takes a second at most.
func closeConn(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}

// turns takes each row in turn, again and again, so that what changes meanwhile meets all of them.
func (b *Bench) turns(rounds, rows int, total int64, round func(row int) error) error {
	for k := range rounds {
		for i := range rows {
			if err := round(i); err != nil {
				return err
			}
			b.cfg.Progress(int64(k*rows+i+1), total)
		}
	}
	return nil
}

// checkpoint keeps the server from making one in the middle of a round, where it is ours.
func (b *Bench) checkpoint(ctx context.Context) error {
	if !b.cfg.Own {
		return nil
	}
	return b.exec(ctx, statementTimeout, "checkpoint")
}
