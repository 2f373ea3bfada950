package listener_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/listener"
)

// sleeper is a reader that arms, reads, sleeps and wakes step by step. It has no fallback poll: what no wake leads it to it
// does not find.
type sleeper struct {
	b       *testBundle
	ears    *ears // its connection
	handler *listener.Handler
	state   func() listener.State
	reader  *catchup.Reader
	naive   bool           // it reads once after arming, and sleeps
	seen    map[int64]bool // positions
}

// sleeper makes one that listens through e and begins at the end of the log.
func (b *testBundle) sleeper(t *testing.T, e *ears, naive bool) *sleeper {
	t.Helper()
	cfg, _ := b.config(t)
	l := listener.New(cfg)
	return &sleeper{
		b: b, ears: e, handler: listener.NewHandler(l, e.conn), state: l.State, naive: naive,
		reader: catchup.NewReader(b.Pool, b.log, b.token, everything(), b.head(t)),
		seen:   map[int64]bool{},
	}
}

// everything is all slots.
func everything() catchup.SlotSet { return catchup.SlotsOf([]int{0}, 1) }

// read reads once and reports whether the reader may sleep now.
func (s *sleeper) read(t *testing.T) (asleep bool) {
	t.Helper()
	batch, err := s.reader.Next(s.b.ctx, 500)
	require.NoError(t, err)
	for _, ev := range batch.Events {
		s.seen[ev.GlobalPosition] = true
	}
	if batch.More || batch.Blocked {
		return false
	}
	return s.naive || max(batch.Settled, batch.To) >= s.state().ArmedHead
}

// fallAsleep reads until the reader may sleep.
func (s *sleeper) fallAsleep(t *testing.T) {
	t.Helper()
	for pause := time.Millisecond; !s.read(t); pause = min(2*pause, 20*time.Millisecond) {
		<-time.After(pause)
	}
}

// sleep sleeps, and reads at every wake, until a barrier comes that is sent after everything was committed.
func (s *sleeper) sleep(t *testing.T) (wakes int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(s.b.ctx, time.Minute)
	defer cancel()
	for {
		n, err := s.ears.conn.WaitForNotification(ctx)
		require.NoError(t, err, "wait for a wake")
		if n.Channel == barrier {
			return wakes
		}
		wakes++
		s.fallAsleep(t)
	}
}

// missing counts those of the positions that the reader, asleep, has not found: they would have to wait for a poll.
func (s *sleeper) missing(positions []int64) (n int) {
	for _, p := range positions {
		if !s.seen[p] {
			n++
		}
	}
	return n
}

// recover makes a new start after a lost wake, as a poll would.
func (s *sleeper) recover(t *testing.T) {
	t.Helper()
	clear(s.seen)
	for range 2 {
		s.read(t)
	}
	clear(s.seen)
}

// appender appends on a connection of its own.
type appender struct {
	b         *testBundle
	conn      *pgx.Conn
	isolation pgx.TxIsoLevel
	name      string
	version   int64 // of its aggregate, rolled back events included
}

func (b *testBundle) appender(t *testing.T, isolation pgx.TxIsoLevel, name string) *appender {
	t.Helper()
	return &appender{b: b, conn: b.Conn(t), isolation: isolation, name: name}
}

// isolations are the levels that the writers of a real system use.
var isolations = []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable}

func (a *appender) begin(ctx context.Context) (pgx.Tx, error) {
	return a.conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: a.isolation})
}

// insert appends one event in tx and returns its position.
func (a *appender) insert(ctx context.Context, tx pgx.Tx) (position int64, err error) {
	a.version++
	err = tx.QueryRow(ctx, insertSQL+" returning global_position", a.name, a.version, 1).Scan(&position)
	return position, err
}
