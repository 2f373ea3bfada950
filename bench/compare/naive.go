package compare

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// naiveBatch is how many events the naive worker reads at once: as many as Rouse.
const naiveBatch = 1000

// naive is the worker that is written first: a trigger notifies of every insert, the worker reads what is above its checkpoint
// and commits effect and checkpoint in one round trip. It loses events that commit out of order, and is one process for ever.
type naive struct{ place }

func (s naive) create(ctx context.Context) error { return s.script(ctx, sqlNaiveCreate) }

func (s naive) fill(ctx context.Context, events int64) error {
	if err := s.exec(ctx, sqlNaiveFill, events, aggregates); err != nil {
		return err
	}
	return s.exec(ctx, "vacuum analyze log")
}

func (naive) append(ctx context.Context, conn *pgx.Conn, aggregate string, version int) error {
	return appendBy(ctx, conn, sqlNaiveAppend, aggregate, version)
}

func (naive) emptySQL() string { return "truncate log" }

func (s naive) rewind(ctx context.Context) error {
	return s.exec(ctx, "update checkpoint set last = 0")
}

func (s naive) start(ctx context.Context, idle bool, committed func(events int)) (*worker, error) {
	channel, err := s.number(ctx, "select 'log'::regclass::oid::bigint")
	if err != nil {
		return nil, err
	}
	last, err := s.number(ctx, "select last from checkpoint")
	if err != nil {
		return nil, err
	}
	listen, err := pgx.ConnectConfig(ctx, s.pool.Config().ConnConfig)
	if err != nil {
		return nil, err
	}
	if _, err := listen.Exec(ctx, "listen "+pgx.Identifier{fmt.Sprint("log_", channel)}.Sanitize()); err != nil {
		return nil, err
	}
	return begin(ctx, func(ctx context.Context) error {
		defer func() { _ = listen.Close(context.WithoutCancel(ctx)) }()
		for {
			for more := true; more; {
				n, to, err := s.step(ctx, last, idle)
				if err != nil {
					return err
				}
				if n > 0 {
					committed(n)
				}
				last, more = to, n == naiveBatch
			}
			if _, err := listen.WaitForNotification(ctx); err != nil {
				return err
			}
		}
	}), nil
}

// step reads a batch and commits it.
func (s naive) step(ctx context.Context, after int64, idle bool) (n int, last int64, err error) {
	rows, err := s.pool.Query(ctx, "select id, aggregate_id, payload from log where id > $1 order by id limit $2", after, naiveBatch)
	if err != nil {
		return 0, after, err
	}
	var t tally
	var id string
	var payload []byte
	last = after
	if _, err := pgx.ForEachRow(rows, []any{&last, &id, &payload}, func() error { n++; t.add(id); return nil }); err != nil || n == 0 {
		return n, last, err
	}
	var batch pgx.Batch
	batch.Queue("begin")
	batch.Queue("set local synchronous_commit = off")
	if !idle {
		batch.Queue(sqlCount, t.ids, t.events)
	}
	batch.Queue("update checkpoint set last = $1", last)
	batch.Queue("commit")
	return n, last, s.pool.SendBatch(ctx, &batch).Close()
}
