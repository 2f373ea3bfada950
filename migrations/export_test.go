package migrations

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// TableWait is tableWait.
const TableWait = tableWait

// UpWithNext is UpReporting to the latest version and to one more, which is made of sql and locks tables.
func UpWithNext(ctx context.Context, conn *pgx.Conn, report func(*BlockedError), sql string, locks ...string) (applied int, err error) {
	next := migration{version: Latest() + 1, oldest: Latest(), name: "next", sql: sql, locks: locks}
	u := upgrade{conn: conn, report: report, to: append(all[:len(all):len(all)], next)}
	return u.run(ctx)
}
