package rebuild

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/internal/db"
)

// Drop removes a shadow with its tables. First it takes it from those who run it, so that none of them stands in the way; where it is
// killed behind that, or fails with ErrLocked, Drop removes the rest. The live projection is not concerned.
func Drop(ctx context.Context, d db.DB, shadow string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*statementTimeout)
	defer cancel()
	var schema string
	err := db.Tx(ctx, d, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, sqlRetire.For(d), shadow).Scan(&schema)
		if errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("%w: %s", ErrNoShadow, shadow)
		}
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, sqlRaise.For(d), shadow)
		return err
	})
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		err = remove(ctx, d, shadow, schema)
		switch {
		case !lockMissed(err): // a handler that is at work may hold the tables in another order
			return err
		case try == dropTries:
			return fmt.Errorf("%w: %w", ErrLocked, err)
		}
	}
}

// dropTries is how often Drop tries to remove the tables of a shadow where others are in its way.
const dropTries = 3

// remove removes a shadow that nobody takes up any more, with its tables.
func remove(ctx context.Context, d db.DB, shadow, schema string) error {
	return db.Tx(ctx, d, func(tx pgx.Tx) error {
		if schema != "" {
			if err := dropTables(ctx, tx, schema); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, sqlGone.For(d), shadow); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, sqlTell.For(d), db.SchemaOf(d))
		return err
	})
}

// DropTablesIn drops the tables of all shadows of a projection, whose row tx has locked, so that none comes to be. The shadows themselves
// go with that row.
func DropTablesIn(ctx context.Context, tx pgx.Tx, projection string) error {
	schemas, err := texts(ctx, tx, sqlBesides.In(""), projection)
	if err != nil {
		return err
	}
	for _, schema := range schemas {
		if schema == "" {
			continue
		}
		if err := dropTables(ctx, tx, schema); err != nil {
			return err
		}
	}
	return nil
}

// dropTables drops all tables in the schema of a shadow, and the schema.
func dropTables(ctx context.Context, tx pgx.Tx, schema string) error {
	names, err := texts(ctx, tx, "select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relkind in ('r', 'p') and not c.relispartition order by 1", schema)
	if err != nil {
		return err
	}
	for i, name := range names {
		names[i] = pgx.Identifier{schema, name}.Sanitize()
	}
	if len(names) > 0 {
		if _, err := tx.Exec(ctx, "drop table "+strings.Join(names, ", ")+" cascade"); err != nil {
			return err
		}
	}
	return dropSchema(ctx, tx, schema)
}
