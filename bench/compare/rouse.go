package compare

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/bench"
	"github.com/rouse-es/rouse/migrations"
)

// rouseSide is Rouse as it is, with its defaults.
type rouseSide struct {
	place
	runs int // each has a projection of its own, and so begins where there are no checkpoints
}

func (s *rouseSide) create(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	_, err = migrations.Up(ctx, conn.Conn())
	return err
}

func (s *rouseSide) fill(ctx context.Context, events int64) error {
	return s.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error { return bench.Fill(ctx, conn.Conn(), 0, events) })
}

func (*rouseSide) append(ctx context.Context, conn *pgx.Conn, aggregate string, version int) error {
	return appendBy(ctx, conn, sqlRouseAppend, aggregate, version)
}

func (*rouseSide) emptySQL() string { return "truncate events" }

func (s *rouseSide) rewind(context.Context) error {
	s.runs++
	return nil
}

func (s *rouseSide) start(ctx context.Context, idle bool, committed func(events int)) (*worker, error) {
	w, err := rouse.New(s.pool, rouse.Config{
		Label: "compare", Projections: []rouse.Projection{counting{name: fmt.Sprint("counts_", s.runs), idle: idle}},
		Observer: rouse.Observer{Handled: func(_ string, events int, _ time.Duration) { committed(events) }},
	})
	if err != nil {
		return nil, err
	}
	running := begin(ctx, w.Run)
	select {
	case <-w.Started():
		return running, nil
	case <-running.ended:
		return nil, running.fault()
	}
}

// counting is the projection.
type counting struct {
	name string
	idle bool
}

func (c counting) Name() string { return c.name }

func (c counting) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	if c.idle {
		return nil
	}
	_, err := tx.Exec(ctx, sqlCountOne, ev.AggregateID)
	return err
}

func (c counting) ApplyBatch(_ context.Context, batch *pgx.Batch, events []eventstore.Event) error {
	if c.idle {
		return nil
	}
	var t tally
	for i := range events {
		t.add(events[i].AggregateID)
	}
	batch.Queue(sqlCount, t.ids, t.events)
	return nil
}

// tally adds events up by aggregate, for sqlCount. Its zero value is empty.
type tally struct {
	at     map[string]int
	ids    []string
	events []int64
}

func (t *tally) add(aggregate string) {
	if t.at == nil {
		t.at = map[string]int{}
	}
	i, seen := t.at[aggregate]
	if !seen {
		i = len(t.ids)
		t.at[aggregate] = i
		t.ids, t.events = append(t.ids, aggregate), append(t.events, 0)
	}
	t.events[i]++
}
