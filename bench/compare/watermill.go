package compare

import (
	"context"
	stdsql "database/sql"
	"errors"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/jackc/pgx/v5"
)

// watermillTopic names the tables: watermill_events and watermill_offsets_events.
const watermillTopic = "events"

// Tuning is what was set on watermill-sql.
type Tuning struct {
	Batch int           `json:"batch"`   // messages of one query; its default is 100
	Poll  time.Duration `json:"poll_ns"` // how long it sleeps when there is nothing; its default is a second
}

// watermillSide is watermill-sql over pgx, with its own schema for PostgreSQL and one subscriber.
type watermillSide struct {
	place
	tuning Tuning
	group  int // each run is a consumer group of its own, and so begins where there are no offsets
}

func (s *watermillSide) config() sql.SubscriberConfig {
	return sql.SubscriberConfig{
		ConsumerGroup:  watermill.NewULID(),
		PollInterval:   s.tuning.Poll,
		SchemaAdapter:  sql.DefaultPostgreSQLSchema{SubscribeBatchSize: s.tuning.Batch},
		OffsetsAdapter: sql.DefaultPostgreSQLOffsetsAdapter{},
	}
}

func (s *watermillSide) create(context.Context) error {
	subscriber, err := sql.NewSubscriber(sql.BeginnerFromPgx(s.pool), s.config(), nil)
	if err != nil {
		return err
	}
	return errors.Join(subscriber.SubscribeInitialize(watermillTopic), subscriber.Close())
}

// watermillChunk is how many messages of a history have one transaction id.
const watermillChunk = 1000

func (s *watermillSide) fill(ctx context.Context, events int64) error {
	for first := int64(0); first < events; first += watermillChunk {
		if err := s.exec(ctx, sqlWatermillFill, first, min(first+watermillChunk, events), aggregates); err != nil {
			return err
		}
	}
	return s.exec(ctx, "vacuum analyze watermill_events")
}

func (*watermillSide) append(ctx context.Context, conn *pgx.Conn, aggregate string, version int) error {
	return appendBy(ctx, conn, sqlWatermillAppend, aggregate, version)
}

func (*watermillSide) emptySQL() string { return "truncate watermill_events" }

func (s *watermillSide) rewind(context.Context) error {
	s.group++
	return nil
}

func (s *watermillSide) start(ctx context.Context, idle bool, committed func(events int)) (*worker, error) {
	acked := &ackedSince{committed: committed}
	subscriber, err := sql.NewSubscriber(watched{sql.BeginnerFromPgx(s.pool), acked}, s.config(), nil)
	if err != nil {
		return nil, err
	}
	messages, err := subscriber.Subscribe(ctx, watermillTopic)
	if err != nil {
		return nil, errors.Join(err, subscriber.Close())
	}
	return begin(ctx, func(ctx context.Context) (err error) {
		defer func() { err = errors.Join(err, subscriber.Close()) }()
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case m, open := <-messages:
				if !open {
					return ctx.Err()
				}
				if err := count(m, idle); err != nil {
					return err
				}
				acked.n++
				m.Ack()
			}
		}
	}), nil
}

// count is the handler, in the subscriber's own transaction: exactly once, as watermill-sql's documents have it.
func count(m *message.Message, idle bool) error {
	if idle {
		return nil
	}
	tx, known := sql.TxFromContext(m.Context())
	if !known {
		return errors.New("compare: watermill-sql gave no transaction with a message")
	}
	_, err := tx.ExecContext(m.Context(), sqlCountOne, m.Metadata.Get("aggregate_id"))
	return err
}

// ackedSince counts messages until their transaction commits. The subscriber waits for each Ack before it goes on, so its
// goroutine and the handler's take turns.
type ackedSince struct {
	n         int
	committed func(events int)
}

// watched tells of commits, of which the subscriber has no hook.
type watched struct {
	sql.Beginner
	acked *ackedSince
}

func (w watched) BeginTx(ctx context.Context, o *stdsql.TxOptions) (sql.Tx, error) {
	tx, err := w.Beginner.BeginTx(ctx, o)
	return watchedTx{tx, w.acked}, err
}

type watchedTx struct {
	sql.Tx
	acked *ackedSince
}

func (t watchedTx) Commit() error {
	err := t.Tx.Commit()
	if n := t.acked.n; err == nil && n > 0 {
		t.acked.n = 0
		t.acked.committed(n)
	}
	return err
}
