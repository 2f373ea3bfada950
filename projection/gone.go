package projection

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/partition"
)

// became returns err, or if it wraps ErrNoProjection one that also says what has become of a name that was dropped or renamed.
func became(ctx context.Context, pool *pgxpool.Pool, name string, err error) error {
	if !errors.Is(err, ErrNoProjection) {
		return err
	}
	found, findErr := partition.Find(ctx, db.In(pool, ""), []string{name})
	if end := found[name].Became(name); findErr == nil && end != "" {
		return fmt.Errorf("%w: %s", ErrNoProjection, end)
	}
	return err
}
