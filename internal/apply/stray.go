package apply

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrStray means that the handler of a shadow has written to tables that are not the shadow's.
var ErrStray = errors.New("the handler writes to tables that are not the shadow's")

// queueStray queues what fails the transaction of a shadow whose handler has written to the tables of somebody else: to those of the
// live projection, by a name with a schema, or to one that it does not name as its own. Such an event would be applied twice there. It
// comes behind the save: where the shadow has just taken the place, its fence is broken, and its tables are elsewhere.
func (w *working) queueStray(batch *pgx.Batch, schema string) {
	if w == nil || w.within == "" {
		return
	}
	batch.Queue(sqlStray.In(""), w.within, schema).Fn = func(results pgx.BatchResults) error {
		_, err := results.Exec()
		var pgErr *pgconn.PgError
		if !errors.As(err, &pgErr) || pgErr.Code != "22P02" { // invalid_text_representation
			return w.own("to look which tables a handler has written to", err)
		}
		_, names, _ := strings.Cut(pgErr.Message, ": ")
		return outage{&StoppedError{Err: fmt.Errorf("%w: %s (name them in Tables, and without a schema in the handler)", ErrStray, strings.Trim(names, `"`))}}
	}
}
