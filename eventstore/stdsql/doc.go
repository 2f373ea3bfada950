// Package stdsql appends events in transactions of database/sql, and so in those of bun, GORM, sqlc and whatever else gives out a
// *sql.Tx. It is for programs whose other writes go that way, and have to commit together with the events:
//
//	tx, err := db.BeginTx(ctx, nil)
//	...
//	appended, err := stdsql.Append(ctx, tx, eventstore.Stream{Type: "order", ID: "42"}, eventstore.Exact(3), events...)
//
// Results and errors are those of [eventstore.Append]: the statements and what their failures mean are the same code. The driver
// has to be one of PostgreSQL whose errors tell their SQLSTATE: pgx (github.com/jackc/pgx/v5/stdlib) and lib/pq do. An append of several
// events takes three round trips instead of one.
//
// What to give as tx:
//
//	bun    tx.Tx, the *sql.Tx inside of a bun.Tx: bun itself writes arguments into statements at question marks
//	GORM   tx.Statement.ConnPool, where tx is the *gorm.DB of a transaction
//	sqlc   the *sql.Tx that goes into Queries.WithTx
package stdsql
