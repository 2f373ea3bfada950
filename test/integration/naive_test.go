package integration_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// naiveReader is the reader that everybody writes first: whatever is above the checkpoint, in order, handled together with
// the checkpoint. Nothing is wrong with its transactions. It skips commits that are slower than others, for ever.
type naiveReader struct {
	conn       *pgx.Conn
	name       string
	checkpoint int64
}

func newNaiveReader(t testing.TB, url string) *naiveReader {
	return &naiveReader{conn: stressConn(t, url), name: "naive"}
}

// run reads every few milliseconds until ctx is cancelled, and then once more to the end.
func (r *naiveReader) run(ctx context.Context) error {
	for ctx.Err() == nil {
		if _, err := r.read(); err != nil {
			return err
		}
		pauseFor(ctx, 3*time.Millisecond)
	}
	for {
		if more, err := r.read(); err != nil || !more {
			return err
		}
	}
}

func (r *naiveReader) read() (more bool, err error) {
	const limit = 500
	ctx, cancel := context.WithTimeout(context.Background(), appenderTimeout)
	defer cancel()
	var last *int64
	if err := r.conn.QueryRow(ctx, stressSQL("naive"), r.name, r.checkpoint, limit).Scan(&last); err != nil {
		return false, err
	}
	if last == nil {
		return false, nil
	}
	r.checkpoint = *last
	return true, nil
}
