package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/internal/randid"
)

const (
	// minVersion is the oldest supported server, as server_version_num.
	minVersion = 150000

	// listenTimeout is how long a notification may take to arrive; it takes a millisecond.
	listenTimeout = 5 * time.Second

	// closeTimeout bounds the end of a connection.
	closeTimeout = time.Second

	// Above queueWarn the notification queue fills up; above queueFail workers stop listening to spare it.
	queueWarn = 0.1
	queueFail = 0.5

	// connectionsWarn is the share of the server's connections that may be in use.
	connectionsWarn = 0.9
)

// judgeVersion returns the finding for a version of the server.
func judgeVersion(number int, version string) Finding {
	if number < minVersion {
		return fail("upgrade the server to PostgreSQL 15 or later", "PostgreSQL %s is too old", version)
	}
	return ok("PostgreSQL %s", version)
}

// encoding checks the encoding of the database.
func (e *examination) encoding(ctx context.Context) ([]Finding, error) {
	var encoding string
	if err := e.pool.QueryRow(ctx, "select getdatabaseencoding()").Scan(&encoding); err != nil {
		return nil, err
	}
	if encoding != "UTF8" {
		return one(fail("create a database with: create database NAME encoding 'UTF8' template template0, and move there",
			"it is %s, and slots depend on UTF8", encoding)), nil
	}
	return one(ok("UTF8")), nil
}

// pooler checks whether the connection that workers listen on, and hold their presence on, leads to PostgreSQL itself.
func (e *examination) pooler(ctx context.Context) ([]Finding, error) {
	if e.Listen != nil {
		conn, err := e.listening(ctx)
		if err != nil {
			text, do := split(e.Explain(err))
			return one(fail(do, "the address to listen through: %s", text)), nil
		}
		defer closeConn(conn)
		direct, err := isDirect(ctx, conn)
		if err != nil || direct {
			return one(ok("the address to listen through leads to PostgreSQL itself")), err
		}
		return one(warn("set ROUSE_LISTEN_URL to an address of PostgreSQL itself",
			"the address to listen through leads to a pooler, where a worker cannot show that it lives: others take it for dead only after its lease time")), nil
	}
	conn, err := e.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	direct, err := isDirect(ctx, conn.Conn())
	if err != nil || direct {
		return one(ok("none, the address leads to PostgreSQL itself")), err
	}
	return one(warn("set ROUSE_LISTEN_URL to an address of PostgreSQL itself",
		"the address leads to a pooler, where LISTEN may deliver nothing and a worker cannot show that it lives")), nil
}

// isDirect reports whether conn leads to PostgreSQL itself and not to a pooler, which hands out process ids of its own.
func isDirect(ctx context.Context, conn *pgx.Conn) (bool, error) {
	var pid uint32
	err := conn.QueryRow(ctx, "select pg_backend_pid()").Scan(&pid)
	return pid == conn.PgConn().PID(), err
}

// listening opens a connection to the address that a worker would listen on. The caller closes it.
func (e *examination) listening(ctx context.Context) (*pgx.Conn, error) {
	if e.Listen != nil {
		return pgx.ConnectConfig(ctx, e.Listen.Copy())
	}
	return pgx.ConnectConfig(ctx, e.pool.Config().ConnConfig.Copy())
}

// closeConn closes conn, within closeTimeout.
func closeConn(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_ = conn.Close(ctx)
}

// listen checks by a notification from another connection that LISTEN works.
func (e *examination) listen(ctx context.Context) ([]Finding, error) {
	conn, err := e.listening(ctx)
	if err != nil {
		text, do := split(e.Explain(err))
		return one(fail(do, "cannot connect to listen: %s", text)), nil
	}
	defer closeConn(conn)
	channel := "rouse_doctor_" + randid.Hex(16)
	if _, err := conn.Exec(ctx, "listen "+pgx.Identifier{channel}.Sanitize()); err != nil {
		return nil, err
	}
	if _, err := e.pool.Exec(ctx, "select pg_notify($1, '')", channel); err != nil {
		return nil, err
	}
	waitCtx, cancel := context.WithTimeout(ctx, listenTimeout)
	defer cancel()
	began := time.Now()
	if _, err := conn.WaitForNotification(waitCtx); err == nil {
		return one(ok("a notification from another connection arrived after %s", time.Since(began).Round(time.Microsecond))), nil
	}
	if e.Listen != nil {
		return one(fail("set ROUSE_LISTEN_URL to an address of PostgreSQL itself, and of the same database",
			"a notification did not arrive within %s through the address to listen through: workers poll every second instead", listenTimeout)), nil
	}
	return one(fail("set ROUSE_LISTEN_URL to an address of PostgreSQL itself",
		"a notification did not arrive within %s, as behind a pooler in transaction mode: workers poll every second instead", listenTimeout)), nil
}

// queue checks the notification queue of the server.
func (e *examination) queue(ctx context.Context) ([]Finding, error) {
	var usage float64
	if err := e.pool.QueryRow(ctx, "select pg_notification_queue_usage()").Scan(&usage); err != nil {
		return nil, err
	}
	return one(judgeQueue(usage)), nil
}

// judgeQueue returns the finding for a usage of the notification queue, from 0 to 1.
func judgeQueue(usage float64) Finding {
	const do = "a session listens inside a long transaction: find it in pg_stat_activity, idle in transaction, and end it"
	percent := fmt.Sprintf("%.0f %%", 100*usage)
	switch {
	case usage > queueFail:
		return fail(do, "%s full, and when it is full appends fail", percent)
	case usage > queueWarn:
		return warn(do, "%s full", percent)
	}
	return ok("%s full", percent)
}

// connections checks how many of the server's connections are in use.
func (e *examination) connections(ctx context.Context) ([]Finding, error) {
	var used, most int
	if err := e.pool.QueryRow(ctx, sqlConnections).Scan(&used, &most); err != nil {
		return nil, err
	}
	if float64(used) >= connectionsWarn*float64(most) {
		return one(warn("raise max_connections, or stop clients that need none", "%d of %d are in use", used, most)), nil
	}
	return one(ok("%d of %d are in use", used, most)), nil
}

// source checks whether a worker may read from this server.
func (e *examination) source(ctx context.Context) ([]Finding, error) {
	var readOnly, subscriber bool
	if err := e.pool.QueryRow(ctx, sqlSource).Scan(&e.standby, &readOnly, &subscriber); err != nil {
		return nil, err
	}
	switch {
	case e.standby:
		return one(fail("connect to the primary", "this server is a standby, where the locks of appends cannot be seen")), nil
	case readOnly:
		return one(fail("set default_transaction_read_only to off for the server, the database or the role; a hosted server sets it where its disk is full",
			"the database is read-only (default_transaction_read_only is on), so nothing can be appended or handled")), nil
	case subscriber:
		return one(fail("read at the publisher, or drop the subscription", "events is filled by a subscription, whose writes skip statement triggers")), nil
	}
	return one(ok("a primary, and events is filled by no subscription")), nil
}

// idle looks for transactions that have been left open.
func (e *examination) idle(ctx context.Context) ([]Finding, error) {
	rows, err := e.pool.Query(ctx, sqlIdle, e.Long.Seconds())
	if err != nil {
		return nil, err
	}
	var found []Finding
	var pid *int
	var name, role string
	var seconds float64
	_, err = pgx.ForEachRow(rows, []any{&pid, &name, &role, &seconds}, func() error {
		const why = "it keeps vacuum from cleaning up, and whatever it has locked"
		if pid == nil {
			found = append(found, warn(fmt.Sprintf("end it with: commit prepared or rollback prepared %q", name),
				"the prepared transaction %q of role %s has been open for %s: %s", name, role, age(seconds), why))
		} else {
			found = append(found, warn(fmt.Sprintf("end it with: select pg_terminate_backend(%d)", *pid),
				"session %d of %q, role %s, has been idle in a transaction for %s: %s", *pid, name, role, age(seconds), why))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var sees bool
	if err := e.pool.QueryRow(ctx, "select pg_has_role('pg_read_all_stats', 'usage')").Scan(&sees); err != nil {
		return nil, err
	}
	if !sees {
		return orOK(found, "no transaction of this role has been left open; those of other roles cannot be seen without pg_read_all_stats"), nil
	}
	return orOK(found, "no transaction has been left open for longer than %s", e.Long), nil
}
