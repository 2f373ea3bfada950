package catchup

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rouse-es/rouse/internal/db"
)

// glanceRows is the most that a glance brings, as glance.sql has it.
const glanceRows = 100

// Glance is a quicker read for a reader that had read everything: head and events, without the look at the locks, which
// costs as much as all the rest. The two share a snapshot, for nothing is concluded from the absence of a row. If
// the events are contiguous up to the head, there is no hole that an append could fill, so they may be handed out, and
// the cursor moves; the same goes for the first of them, where they are more than a read may bring. If the cursor is at the
// head, there is nothing, which an earlier glance has read. Otherwise Glance
// changes nothing and ok is false. A Next should follow: at once, or within a second where the batch is AtHead, to look at
// the triggers.
func (r *Reader) Glance(ctx context.Context) (b Batch, ok bool, err error) {
	if r.patience.limit(r.bound.Limit(glanceRows)) < glanceRows {
		return Batch{}, false, nil // the events of late are so large that it would bring more than there is room for
	}
	outer := ctx
	ctx, cancel := context.WithTimeout(ctx, r.patience.timeout())
	defer cancel()
	found, err := r.glance(ctx)
	var refused *pgconn.PgError
	if errors.As(err, &refused) && !r.wary {
		r.wary = true // what the session has set may be the cause
		found, err = r.glance(ctx)
	}
	if errors.Is(err, errNoHead) {
		return Batch{}, false, nil
	}
	if err = r.patience.note(outer, err); err != nil {
		return Batch{}, false, err
	}
	to := r.after
	for _, ev := range found.events {
		if ev.GlobalPosition != to+1 {
			return Batch{}, false, nil
		}
		to++
	}
	if to < found.head && found.whole || to > found.head { // a hole, or a log that ends before the cursor: Next says which
		return Batch{}, false, nil
	}
	b = Batch{From: r.after, To: to, Head: found.head, Settled: to, More: true, Glanced: true, Push: r.push}
	b.AtHead = to == found.head
	b.Events = r.mine(found.events)
	r.after = to
	return b, true, nil
}

// glance reads what glance.sql says, in one statement. Where the results would come in a form that pgx does not read, or the
// session has settings with which the statement was refused once, the settings of a read go before it.
func (r *Reader) glance(ctx context.Context) (found reading, err error) {
	settings := false
	return r.exchange(ctx, func(batch *pgx.Batch, needs db.Needs) { // one transaction: it begins with the first statement and ends with the last
		if settings = needs.Forms || r.wary; settings {
			r.queueHead(batch, needs)
		}
		batch.Queue(forPages(sqlGlance.In(r.log.Schema), uint64(max(r.after, 0))/rowsOfPage), int64(r.log.Sequence), r.after)
	}, func(results pgx.BatchResults) (reading, error) {
		if settings {
			if _, err := results.Exec(); err != nil {
				return found, fmt.Errorf("catchup: begin to read the log: %w", err)
			}
		}
		rows, err := results.Query()
		if err != nil {
			return found, fmt.Errorf("catchup: read events: %w", err)
		}
		glanced := &glancedRows{Rows: rows, reader: r}
		collected, err := r.bound.Collect(glanced, glanceRows)
		if err = cmp.Or(glanced.err, err); err != nil {
			return found, fmt.Errorf("catchup: read events: %w", err)
		}
		if glanced.head == nil {
			return found, errNoHead // or an event has never been appended, and there is nothing to read
		}
		found.head, found.events, found.whole, found.cut = *glanced.head, collected.Events, collected.Whole, collected.Cut
		return found, nil
	})
}

// rowsOfPage is how many events are on a page of the table, roughly.
const rowsOfPage = 30

// glancedRows are the rows of glance.sql up to the first position without an event, as rows of events. With the first row it reads
// what stands behind the event.
type glancedRows struct {
	pgx.Rows
	reader *Reader
	begun  bool
	head   *int64
	err    error // what is wrong with the first row
}

// behindGlanced is the number of columns of glance.sql behind those of the event.
const behindGlanced = 3

// Next goes to the next event.
func (g *glancedRows) Next() bool {
	if g.err != nil || !g.Rows.Next() {
		return false
	}
	if !g.begun {
		g.begun = true
		if g.head, g.err = g.reader.scanHead(tail{g.Rows, g.columns()}); g.err != nil {
			return false
		}
	}
	return g.Rows.RawValues()[0] != nil
}

// columns returns the number of columns of the event.
func (g *glancedRows) columns() int { return len(g.Rows.RawValues()) - behindGlanced }

// FieldDescriptions returns those of the event.
func (g *glancedRows) FieldDescriptions() []pgconn.FieldDescription {
	return g.Rows.FieldDescriptions()[:g.columns()]
}

// RawValues returns those of the event.
func (g *glancedRows) RawValues() [][]byte { return g.Rows.RawValues()[:g.columns()] }

// Scan scans the columns of the event.
func (g *glancedRows) Scan(into ...any) error {
	return g.Rows.Scan(append(into, make([]any, behindGlanced)...)...)
}

// tail is the present row behind its first columns.
type tail struct {
	rows  pgx.Rows
	first int
}

// Scan scans those columns.
func (t tail) Scan(into ...any) error { return t.rows.Scan(append(make([]any, t.first), into...)...) }

// Peek is the cheapest read, for a reader that had read everything and that no push has woken: one statement, which
// returns the head. If the cursor is at the head, a Next would find nothing, and ok is true. Peek does not look at the
// triggers: whether they are enabled matters once there is an append, which moves the head.
func (r *Reader) Peek(ctx context.Context) (b Batch, ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	pass, err := db.Enter(ctx, r.pool)
	if err != nil {
		return Batch{}, false, fmt.Errorf("catchup: wait to read the log: %w", err)
	}
	defer pass.Leave()
	conn, err := db.Acquire(ctx, r.pool)
	if err != nil {
		return Batch{}, false, fmt.Errorf("catchup: connect to read the log: %w", err)
	}
	defer conn.Release()
	head, err := r.scanHead(conn.QueryRow(ctx, sqlPeek.In(r.log.Schema), int64(r.log.Sequence)))
	if err != nil || head == nil || *head != r.after {
		return Batch{}, false, err
	}
	return Batch{From: r.after, To: r.after, Head: *head, Settled: *head, Push: r.push}, true, nil
}
