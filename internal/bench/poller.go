package bench

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// poller is the naive worker that needs no push: it reads what is above the last position that it saw, counts it and commits that, and
// rests when there was less than a batch. What commits behind a later position it never sees.
type poller struct {
	conn    *pgx.Conn
	readSQL string // as read_hand.sql
	rest    time.Duration
	last    int64
	handled int64
	cancel  context.CancelFunc
	ended   chan struct{} // closed at its end
	err     error         // how it ended; valid once ended is closed
}

// startPoller goes on from the end of a table. The caller drains it.
func (b *Bench) startPoller(ctx context.Context, table logTable, rest time.Duration) (*poller, error) {
	last, err := b.number(ctx, table.lastSQL)
	if err != nil {
		return nil, err
	}
	conn, err := b.connect(ctx)
	if err != nil {
		return nil, err
	}
	p := &poller{conn: conn, readSQL: table.readSQL, rest: rest, last: last, ended: make(chan struct{})}
	loopCtx, cancel := context.WithCancel(ctx)
	p.cancel = cancel
	go func() {
		defer close(p.ended)
		p.err = p.run(ctx, loopCtx)
	}()
	return p, nil
}

// run polls until loopCtx ends, and then until there is nothing more. A statement is not cut by that.
func (p *poller) run(ctx, loopCtx context.Context) error {
	for {
		over := loopCtx.Err() != nil
		n, last, err := handStep(ctx, p.conn, p.readSQL, p.last, nil)
		if err != nil {
			return err
		}
		p.last, p.handled = last, p.handled+int64(n)
		switch {
		case n == 0 && over:
			return nil
		case n < batchSize && !over:
			_ = pause(loopCtx, p.rest) // its end is seen above
		}
	}
}

// drain ends the poller once it has seen what there is to see, and returns how many rows it has handled.
func (p *poller) drain() (int64, error) {
	p.cancel()
	<-p.ended
	closeConn(p.conn)
	return p.handled, p.err
}
