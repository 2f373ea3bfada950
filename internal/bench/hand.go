package bench

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// handStep is one turn of a loop written by hand: it reads a batch, and commits its effect and how far it has come in one
// round trip. It returns how many events there were, and the last of them, and adds all to ids unless that is nil. readSQL has
// the form of read_hand.sql.
func handStep(ctx context.Context, conn *pgx.Conn, readSQL string, after int64, ids *[]int64) (n int, last int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	rows, err := conn.Query(ctx, readSQL, after, batchSize)
	if err != nil {
		return 0, after, err
	}
	defer rows.Close()
	var t tally
	last = after
	for rows.Next() {
		var id, eventType string
		var payload []byte
		if err := rows.Scan(&last, &id, &eventType, &payload); err != nil {
			return 0, after, err
		}
		t.add(id)
		if ids != nil {
			*ids = append(*ids, last)
		}
		n++
	}
	rows.Close()
	if err := rows.Err(); err != nil || n == 0 {
		return 0, after, err
	}
	var batch pgx.Batch
	batch.Queue("begin")
	batch.Queue("set local synchronous_commit = off")
	t.queue(&batch)
	batch.Queue("update floor_checkpoint set last = $1", last)
	batch.Queue("commit")
	return n, last, conn.SendBatch(ctx, &batch).Close()
}
