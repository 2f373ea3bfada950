package tenants

import "github.com/jackc/pgx/v5/pgxpool"

const (
	// pgxStatements is how many prepared statements pgx keeps for a connection if nobody has said another number.
	pgxStatements = 512

	// statements is how many a connection keeps that serves many schemas: the dozen that are used again and again, for each of some
	// hundreds. With fewer, schemas that have their turn one after the other each find theirs dropped.
	statements = 8192
)

// KeepStatements has connections of a pool keep the prepared statements of many schemas, unless its address says how many.
func KeepStatements(cfg *pgxpool.Config) {
	if cfg.ConnConfig.StatementCacheCapacity == pgxStatements {
		cfg.ConnConfig.StatementCacheCapacity = statements
	}
}
