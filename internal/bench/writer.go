package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// writer appends events one by one, as fast as it can.
type writer interface {
	// name says what it is.
	name() string
	// write appends from so many connections at once, for the length of a round, and returns the appends per second. The
	// aggregates are named after the round, so that their versions start at 1.
	write(ctx context.Context, writers, round int) (float64, error)
	// close is called at the end.
	close() error
}

// writerAggregates is how many aggregates each connection appends to in turn.
const writerAggregates = 100

// newWriter returns what appends for the length of a round: pgbench by its script, if there is one, else goroutines by the statement, which
// has the parameters of append_event.sql.
func (b *Bench) newWriter(ctx context.Context, path string, length time.Duration, script []byte, appendSQL string) (writer, error) {
	if path == "" {
		return &goroutines{b: b, appendSQL: appendSQL, length: length, why: "pgbench was not found"}, nil
	}
	p, err := b.newPgbench(ctx, path, length, script)
	if err == nil && p == nil {
		return &goroutines{b: b, appendSQL: appendSQL, length: length, why: "pgbench cannot be told this address"}, nil
	}
	return p, err
}

// goroutines of this process write where there is no pgbench.
type goroutines struct {
	b         *Bench
	appendSQL string
	length    time.Duration
	why       string
}

func (g *goroutines) name() string { return "goroutines of the measuring process, " + g.why }

func (*goroutines) close() error { return nil }

func (g *goroutines) write(ctx context.Context, writers, round int) (rate float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, g.length+statementTimeout)
	defer cancel()
	conns, err := g.b.connectMany(ctx, writers)
	defer closeAll(conns)
	if err != nil {
		return 0, err
	}
	var appended atomic.Int64
	var all sync.WaitGroup
	errs := make([]error, writers)
	began := time.Now()
	for i, conn := range conns {
		all.Go(func() { errs[i] = g.one(ctx, conn, fmt.Sprintf("r%d-%d-", round, i), began.Add(g.length), &appended) })
	}
	all.Wait()
	return PerSecond(appended.Load(), time.Since(began)), errors.Join(errs...)
}

// one appends until the time is over.
func (g *goroutines) one(ctx context.Context, conn *pgx.Conn, prefix string, until time.Time, appended *atomic.Int64) error {
	for n := 1; time.Now().Before(until); n++ {
		if _, err := conn.Exec(ctx, g.appendSQL, fmt.Sprint(prefix, n%writerAggregates), n/writerAggregates+1); err != nil {
			return err
		}
		appended.Add(1)
	}
	return nil
}
