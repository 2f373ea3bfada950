package migrations

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Carry has the pushes of the log that conn sees carry the events of their appends, or not. It exchanges the push trigger: who does not
// ask for it pays nothing for it. With on it makes a new key each time, so that calling it again takes the key away from whoever has
// read it. The schema has to be current. It waits for events as Up does, calls report as UpReporting does, and may run beside workers
// and appends.
func Carry(ctx context.Context, conn *pgx.Conn, on bool, report func(*BlockedError)) error {
	if err := Check(ctx, conn); err != nil {
		return err
	}
	name := "carry_off"
	if on {
		name = "carry_on"
	}
	u := upgrade{conn: conn, report: report}
	_, err := u.try(ctx, func(ctx context.Context) (int, error) {
		u.inside, u.missed = false, ""
		return 0, Locked(ctx, conn, func(tx pgx.Tx) error {
			u.inside = true
			if err := u.lock(ctx, tx, []migration{{locks: []string{"events"}}}); err != nil {
				return err
			}
			if _, err := tx.Conn().PgConn().Exec(ctx, statement(name)).ReadAll(); err != nil {
				return fmt.Errorf("migrations: exchange the push trigger: %w", err)
			}
			return nil
		})
	})
	return err
}
