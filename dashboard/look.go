package dashboard

import (
	"context"
	_ "embed" // the statements
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse/internal/report"
)

const (
	// lookTimeout bounds one look at the database, beside the limits of its statements.
	lookTimeout = 5 * time.Second

	// historyFor is how far back the lag is remembered.
	historyFor = 5 * time.Minute

	// rateOver is over how long the rate of appends is taken.
	rateOver = 10 * time.Second

	// newestEvents and parkedEvents are how many of each are shown, of the parked ones the first of each aggregate.
	newestEvents = 12
	parkedEvents = 50
)

var (
	//go:embed sql/newest.sql
	newestSQL string
	//go:embed sql/parked.sql
	parkedSQL string
)

// looker looks at the database for all clients, and remembers what a single look cannot tell. look is called by one goroutine
// at a time.
type looker struct {
	pool    *pgxpool.Pool
	log     zerolog.Logger
	letters letters
	latency latency
	heads   []point // positions of the last visible event, over rateOver
	failing bool    // the last look failed, and that is logged
	since   int64   // when the last look that succeeded was, in milliseconds since 1970

	mu      sync.Mutex // protects the field below
	history map[string][]point
}

// point is a value at a time, in milliseconds since 1970: a pair in JSON.
type point [2]int64

func newLooker(pool *pgxpool.Pool, log zerolog.Logger) *looker {
	return &looker{pool: pool, log: log, letters: letters{}, latency: newLatency(), history: map[string][]point{}}
}

// look looks once. If the database does not answer the snapshot says so, and nothing else.
func (l *looker) look(ctx context.Context) snapshot {
	lookCtx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	s, err := l.read(lookCtx)
	if err == nil {
		if l.failing {
			l.log.Info().Msg("the dashboard can read the database again")
		}
		l.failing, l.since = false, s.At
		return s
	}
	if !l.failing && ctx.Err() == nil {
		l.failing = true
		l.log.Warn().Err(err).Msg("the dashboard cannot read the database")
	}
	return snapshot{At: now(), Error: explain(err), LastAt: l.since}
}

// read reads everything that is shown.
func (l *looker) read(ctx context.Context) (snapshot, error) {
	r, err := report.Read(ctx, l.pool)
	if err != nil {
		return snapshot{}, err
	}
	set, err := rows(ctx, l.pool, parkedSQL, parkedEvents, func(row pgx.CollectableRow) (e parkedEvent, err error) {
		err = row.Scan(&e.Projection, &e.Position, &e.AggregateType, &e.AggregateID, &e.Version, &e.Type, &e.Attempts, &e.Error, &e.Age, &e.Next, &e.Deferred, &e.Events)
		return e, err
	})
	if err != nil {
		return snapshot{}, fmt.Errorf("dashboard: read the parked events: %w", err)
	}
	newest, err := rows(ctx, l.pool, newestSQL, newestEvents, func(row pgx.CollectableRow) (e event, err error) {
		err = row.Scan(&e.Position, &e.AggregateType, &e.AggregateID, &e.Version, &e.Type, &e.Age)
		return e, err
	})
	if err != nil {
		return snapshot{}, fmt.Errorf("dashboard: read the newest events: %w", err)
	}
	if err := l.latency.look(ctx, l.pool, r); err != nil {
		return snapshot{}, err
	}
	s := snapshot{At: now(), Database: l.pool.Config().ConnConfig.Database, Head: r.Head, Parked: set, Events: newest, Open: r.OpenAppends}
	s.Rate = l.rate(point{s.At, r.Head})
	s.setWorkers(r, l.letters)
	s.setProjections(r, l.letters, &l.latency)
	l.remember(s)
	return s, nil
}

// rows reads the rows of a statement, most at most. Where there are none it returns an empty slice and not nil.
func rows[T any](ctx context.Context, pool *pgxpool.Pool, sql string, most int, scan pgx.RowToFunc[T]) ([]T, error) {
	found, err := pool.Query(ctx, sql, most)
	if err != nil {
		return nil, err
	}
	return pgx.AppendRows([]T{}, found, scan)
}

// rate is how many positions a second the head has moved lately, 0 before there are two looks to compare.
func (l *looker) rate(head point) float64 {
	old := slices.IndexFunc(l.heads, func(p point) bool { return p[0] >= head[0]-rateOver.Milliseconds() })
	if old < 0 {
		old = len(l.heads)
	}
	l.heads = append(l.heads[old:], head)
	first := l.heads[0]
	if head[0] <= first[0] || head[1] < first[1] {
		return 0
	}
	return float64(head[1]-first[1]) * 1000 / float64(head[0]-first[0])
}

// remember adds the lags of a snapshot to the history.
func (l *looker) remember(s snapshot) {
	l.mu.Lock()
	defer l.mu.Unlock()
	history := map[string][]point{} // a projection that is gone is forgotten
	for _, p := range s.Projections {
		kept := slices.DeleteFunc(slices.Clone(l.history[p.Name]), func(p point) bool { return p[0] < s.At-historyFor.Milliseconds() })
		history[p.Name] = append(kept, point{s.At, p.Lag})
	}
	l.history = history
}

// histories are the lags of all projections. They are not changed any more.
func (l *looker) histories() map[string][]point {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.history
}

// explain says what to do about a database that does not answer as it should, without its address.
func explain(err error) string {
	var pgErr *pgconn.PgError
	switch {
	case errors.As(err, &pgErr) && pgErr.Code == "42501": // insufficient_privilege
		return "the database role of this dashboard may not read what it shows (" + pgErr.Message + "): grant it rouse_reader"
	case errors.As(err, &pgErr) && pgErr.Code == "42P01": // undefined_table
		return "the schema is missing or older (" + pgErr.Message + "): run rouse migrate"
	case errors.As(err, &pgErr):
		return "the database refuses: " + pgErr.Message + " (SQLSTATE " + pgErr.Code + ")"
	}
	return "the database does not answer: it is tried again every second"
}
