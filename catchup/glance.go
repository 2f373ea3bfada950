package catchup

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/internal/db"
)

// glanceRows is the most that a glance brings, as glance.sql has it.
const glanceRows = 100

// Glance is a quicker read for a reader that had read everything: head and events, without the look at the locks, which
// costs as much as all the rest. The two share a snapshot, for nothing is concluded from the absence of a row. If
// the events are contiguous up to the head, there is no hole that an append could fill, so they may be handed out, and
// the cursor moves; the same goes for the first of them, where they are more than a glance brings, in number or in bytes. If the
// cursor is at the head, there is nothing, which an earlier glance has read. Otherwise Glance
// changes nothing and ok is false. A Next should follow: at once, or within a second where the batch is AtHead, to look at
// the triggers.
//
// With triggers it looks at them too, and ok is false where one is not as it should be: a Next says what follows from that. Where it is
// true and the batch is AtHead, no Next need follow.
func (r *Reader) Glance(ctx context.Context, triggers bool) (b Batch, ok bool, err error) {
	if r.patience.limit(r.bound.Limit(glanceRows)) < glanceRows {
		return Batch{}, false, nil // the events of late are so large that it would bring more than there is room for
	}
	outer := ctx
	ctx, cancel := context.WithTimeout(ctx, r.patience.timeout())
	defer cancel()
	found, err := r.glance(ctx, triggers)
	if isRefused(err) && !r.wary {
		r.wary = true // what the session has set may be the cause
		found, err = r.glance(ctx, triggers)
	}
	if errors.Is(err, errNoHead) {
		return Batch{}, false, nil
	}
	if err = r.patience.note(outer, err, found.full(glanceRows)); err != nil {
		return Batch{}, false, err
	}
	if triggers && !found.armed {
		return Batch{}, false, nil
	}
	to := r.after
	for i := range found.events {
		if found.events[i].GlobalPosition != to+1 {
			return Batch{}, false, nil
		}
		to++
	}
	first := !found.whole || to == r.after+glanceRows // more wait than it brings
	if to < found.head && !first || to > found.head { // a hole, or a log that ends before the cursor: Next says which
		return Batch{}, false, nil
	}
	b = Batch{From: r.after, To: to, Head: found.head, Settled: to, More: true, Glanced: true, Push: r.push}
	b.AtHead = to == found.head
	b.Events = r.mine(found.events)
	r.after = to
	return b, true, nil
}

// isRefused reports whether the server has refused a statement.
func isRefused(err error) bool {
	if err == nil {
		return false
	}
	var refused *pgconn.PgError
	return errors.As(err, &refused)
}

// glanced is what a glance has found.
type glanced struct {
	reading
	armed bool // both triggers are as they should be; only where that was asked
}

// glance reads what glance.sql says, in one statement, or what glance_triggers.sql says. Where the results would come in a form that pgx
// does not read, or the session has settings with which the statement was refused once, the settings of a read go before it.
func (r *Reader) glance(ctx context.Context, triggers bool) (found glanced, err error) {
	sql, args := sqlGlance, []any{int64(r.log.Sequence), r.after}
	if triggers {
		sql, args = sqlGlanceTriggers, append(args, int64(r.log.Events))
	}
	text := r.glances.of(sql.In(r.log.Schema), sizeOf(uint64(max(r.after, 0))/rowsOfPage))
	_, err = r.onConn(ctx, func(conn *pgxpool.Conn) (reading, error) {
		needs := db.NeedsOf(conn.Conn())
		if !needs.Forms && !r.wary { // a transaction of its own
			rows, err := conn.Query(ctx, text, args...)
			if err != nil {
				return reading{}, fmt.Errorf("catchup: read events: %w", err)
			}
			found, err = r.collectGlance(rows, triggers)
			return found.reading, err
		}
		var batch pgx.Batch // one transaction: it begins with the first statement and ends with the last
		r.queueHead(&batch, needs)
		batch.Queue(text, args...)
		return exchange(ctx, conn, &batch, func(results pgx.BatchResults) (reading, error) {
			if _, err := results.Exec(); err != nil {
				return reading{}, fmt.Errorf("catchup: begin to read the log: %w", err)
			}
			rows, err := results.Query()
			if err != nil {
				return reading{}, fmt.Errorf("catchup: read events: %w", err)
			}
			found, err = r.collectGlance(rows, triggers)
			return found.reading, err
		})
	})
	return found, err
}

// collectGlance reads the rows of a glance.
func (r *Reader) collectGlance(rows pgx.Rows, triggers bool) (found glanced, err error) {
	g := &glancedRows{Rows: rows, reader: r, behind: behindGlanced}
	if triggers {
		g.behind = behindTriggers
	}
	collected, err := r.bound.Collect(g, glanceRows)
	if err = cmp.Or(g.err, err); err != nil {
		rows.Close()
		return found, fmt.Errorf("catchup: read events: %w", err)
	}
	if !g.known {
		return found, errNoHead // or an event has never been appended, and there is nothing to read
	}
	found.head, found.armed = g.head, g.armed
	found.events, found.whole, found.cut = collected.Events, collected.Whole, collected.Cut
	return found, nil
}

// rowsOfPage is how many events are on a page of the table, roughly.
const rowsOfPage = 30

// glancedRows are the rows of glance.sql up to the first position without an event, as rows of events. With the first row it reads
// what stands behind the event.
type glancedRows struct {
	pgx.Rows
	reader *Reader
	behind int // columns behind those of the event
	begun  bool

	head  int64
	known bool  // there is a head
	armed bool  // both triggers are as they should be, where their states are there
	err   error // what is wrong with the first row
}

// behindGlanced and behindTriggers are the numbers of columns of glance.sql and glance_triggers.sql behind those of the event.
const (
	behindGlanced  = 3
	behindTriggers = behindGlanced + 2
)

// Next goes to the next event.
func (g *glancedRows) Next() bool {
	if g.err != nil || !g.Rows.Next() {
		return false
	}
	if !g.begun {
		g.begun = true
		if g.err = g.scanFirst(); g.err != nil {
			return false
		}
	}
	return g.Rows.RawValues()[0] != nil
}

// scanFirst reads what stands behind the event of the first row, as scanHead does, but without a plan for each column, which is
// made anew for each row that is scanned.
func (g *glancedRows) scanFirst() (err error) {
	at := g.columns()
	raw, fields := g.Rows.RawValues()[at:], g.Rows.FieldDescriptions()[at:]
	if g.head, g.known, err = number(raw[0], fields[0].Format); err != nil {
		return err
	}
	filenode, has, err := number(raw[2], fields[2].Format)
	if err != nil {
		return err
	}
	g.armed = g.behind == behindTriggers && string(raw[3]) == "A" && string(raw[4]) == "A"
	return sourceError(raw[1] != nil && string(raw[1]) == string(g.reader.token), has && uint32(filenode) == g.reader.log.Filenode)
}

// number returns a bigint as it came; is: it is not null.
func number(raw []byte, format int16) (n int64, is bool, err error) {
	switch {
	case raw == nil:
		return 0, false, nil
	case format == pgx.BinaryFormatCode && len(raw) == 8:
		return int64(binary.BigEndian.Uint64(raw)), true, nil
	}
	if n, err = strconv.ParseInt(string(raw), 10, 64); err != nil {
		return 0, false, fmt.Errorf("catchup: read the head of the log: %w", err)
	}
	return n, true, nil
}

// columns returns the number of columns of the event.
func (g *glancedRows) columns() int { return len(g.Rows.RawValues()) - g.behind }

// FieldDescriptions returns those of the event.
func (g *glancedRows) FieldDescriptions() []pgconn.FieldDescription {
	return g.Rows.FieldDescriptions()[:g.columns()]
}

// RawValues returns those of the event.
func (g *glancedRows) RawValues() [][]byte { return g.Rows.RawValues()[:g.columns()] }

// Scan scans the columns of the event.
func (g *glancedRows) Scan(into ...any) error {
	return g.Rows.Scan(append(into, make([]any, g.behind)...)...)
}

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
