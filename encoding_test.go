package rouse_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/testdb"
)

// bends leaves its transaction with another encoding and, where pgx minds it, other strings. The first try of each aggregate fails.
type bends struct {
	name   string
	mu     sync.Mutex // protects failed
	failed map[string]bool
}

func (p *bends) Name() string { return p.name }

var errFirst = errors.New("the first try of naïve fails")

func (p *bends) first(ev eventstore.Event) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ev.Type != "fails" || p.failed[ev.AggregateID] {
		return false
	}
	p.failed[ev.AggregateID] = true
	return true
}

var bending = []string{"set local client_encoding = 'LATIN1'", "set local standard_conforming_strings = off"}

func (p *bends) Apply(ctx context.Context, tx pgx.Tx, ev eventstore.Event) error {
	if p.first(ev) {
		return errFirst
	}
	if _, err := tx.Exec(ctx, "insert into done (projection, position) values ('bends', $1)", ev.GlobalPosition); err != nil {
		return err
	}
	for _, sql := range bending {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// bendsAll is bends in the batch form.
type bendsAll struct{ bends }

func (p *bendsAll) ApplyBatch(_ context.Context, batch *pgx.Batch, events []eventstore.Event) error {
	for _, ev := range events {
		if p.first(ev) {
			return errFirst
		}
		batch.Queue("insert into done (projection, position) values ('bends', $1)", ev.GlobalPosition)
		for _, sql := range bending {
			batch.Queue(sql)
		}
	}
	return nil
}

// The worker's statements behind a handler say what they mean in every encoding that the handler has left its transaction in: the
// name of the projection, and the names in its queue.
func TestNamesAreSavedWhateverEncodingAHandlerLeavesItsTransactionIn(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec,
		pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		for form, p := range map[string]rouse.Projection{
			"single": &bends{name: "日本 naïve", failed: map[string]bool{}},
			"batch":  &bendsAll{bends{name: "日本 naïve", failed: map[string]bool{}}},
		} {
			t.Run(mode.String()+" "+form, func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				w := b.start(b.pool(mode), rouse.Config{Projections: []rouse.Projection{p}, BatchSize: 1,
					Retry: rouse.RetryPolicy{Pause: func(int) time.Duration { return 10 * time.Millisecond }}}).WaitStarted()
				for _, event := range []string{"e", "fails", "e"} {
					b.exec(`insert into events (aggregate_type, aggregate_id, aggregate_version, event_type, payload)
						values ('日本', 'naïve', (select count(*) + 1 from events), $1, '{}')`, event)
				}
				testdb.Eventually(t, patience, "everything to be handled", func() (bool, error) {
					return b.int("select count(distinct position) from done") == 3 && b.int("select count(*) from parked_events") == 0, nil
				})
				require.NoError(t, w.Drain(b.ctx))
				require.Equal(t, []int64{1, 2, 3}, b.done("bends"), "each once, and in order")
				require.NoError(t, w.Stop())
			})
		}
	}
}
