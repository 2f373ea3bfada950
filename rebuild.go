package rouse

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Tabled is a Projection that names the tables of its read model, so that it can be rebuilt beside itself (rouse projection rebuild,
// projection.Rebuild). Meanwhile its handler is called in two kinds of transactions: those of the live read model, and those of the one
// that is built, which have a schema with tables of the same names first in their search_path. So it must name its tables without a
// schema, and write to none but these: in a rebuild a transaction that has written to another table is rolled back, and the rebuild stops.
type Tabled interface {
	// Tables returns the names of the tables that the handler writes to, unquoted and without a schema. New calls it once.
	Tables() []string
}

// Versioned is a Tabled projection whose handler or tables may come in another version, which is deployed beside the one that is live.
// A worker that brings a version above the live one builds it beside: from the beginning of the log, in a schema of its own, while other
// workers go on with the live one. Once it has caught up, it takes the place with rouse projection promote, projection.Promote or
// Config.PromoteCaughtUp. What it replaces goes on in the workers that still have that version, and may be promoted back, until
// it is dropped (rouse projection drop NAME@VERSION). A worker whose version is neither live nor built leaves the projection alone.
// Without it the version is 1.
type Versioned interface {
	// Version returns the version, 1 or above. It rises with each change of what the read model would be.
	Version() int
}

// Creator is a Tabled projection that makes the tables of its version. Without it, another version has tables like those that are live.
type Creator interface {
	// Create makes the tables through tx, without naming a schema: they are made in that of the version. It must make tables only, and
	// not commit or roll back tx. It is not called where nothing is live yet; there the tables are yours to make, by the same statements.
	Create(ctx context.Context, tx pgx.Tx) error
}

// replayKey is the context key by which a handler is told that it replays.
type replayKey struct{}

// Replaying reports whether the handler is called for a read model that is built beside the one that is live, by a rebuild or for another
// version. Events come to it that the live one has handled, or is about to: a projection that also does something outside of the database
// leaves that out. ctx is that of Apply or ApplyBatch.
func Replaying(ctx context.Context) bool {
	replaying, _ := ctx.Value(replayKey{}).(bool)
	return replaying
}
