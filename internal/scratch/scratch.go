package scratch

import (
	"context"
	_ "embed" // the statements
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rouse-es/rouse/internal/randid"
)

var (
	//go:embed sql/live.sql
	liveSQL string
	//go:embed sql/dead.sql
	deadSQL string
	//go:embed sql/own.sql
	ownSQL string
	//go:embed sql/prepared.sql
	preparedSQL string
)

// ahead is how many copies of a template are kept for tests that come.
const ahead = 2

// objectInUse is the SQLSTATE of a database with open connections.
const objectInUse = "55006"

// Template is what databases are copies of.
type Template struct {
	// Key tells templates apart: those with one key are the same.
	Key string
	// Fill makes an empty database what its copies are to be. The connection is closed afterwards. Nil: they are to be empty.
	Fill func(ctx context.Context, conn *pgx.Conn) error
}

// Database is a database of a test.
type Database struct {
	// URL is its address, which may hold a password, and Name its name.
	URL, Name string

	from *stock
	more chan struct{} // closed when what was begun for the next test is done; nil: nothing was
}

// all is what this process has: one server, and what is on it.
var all struct {
	mu     sync.Mutex // protects following fields; whoever holds it may use conn
	server server
	err    error  // why there is no server, which every later test reports too
	token  string // in the names of the databases; "" before the first use
	conn   *pgx.Conn
	made   int // how many databases were made
	stocks map[string]*stock
}

// stock is what there is of one template. The mutex of all protects it.
type stock struct {
	template Template
	name     string   // of the template database; "": not made yet
	copies   []string // made ahead
	garbage  []string // to be dropped
	taken    int
}

// Server returns the address of a database of the server on which databases are made. It is started if need be.
func Server() (string, error) {
	all.mu.Lock()
	defer all.mu.Unlock()
	err := begin()
	return all.server.address, err
}

// begin finds the server, if that was not tried before. The caller holds the mutex.
func begin() error {
	if all.err != nil || all.server.address != "" {
		return all.err
	}
	if all.server, all.err = findServer(); all.err == nil {
		all.token, all.stocks = randid.Hex(4), map[string]*stock{}
		if all.server.own == nil {
			all.err = sweep()
		}
	}
	return all.err
}

// Take returns a database that is a copy of template.
func Take(template Template) (*Database, error) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if err := begin(); err != nil {
		return nil, err
	}
	s := all.stocks[template.Key]
	if s == nil {
		s = &stock{template: template}
		all.stocks[template.Key] = s
	}
	if len(s.copies) == 0 {
		if err := s.copy(); err != nil {
			return nil, err
		}
	}
	db := &Database{Name: s.copies[0], from: s}
	s.copies = s.copies[1:]
	var err error
	if db.URL, err = all.server.database(db.Name); err != nil {
		return nil, err
	}
	if s.taken++; s.taken > 1 { // where there is one test, there need not be another
		db.more = make(chan struct{})
		go func() { // Drop waits for it
			defer close(db.more)
			s.restock()
		}()
	}
	return db, nil
}

// Drop gives the database back, which nobody uses any more. It is gone some time later.
func (db *Database) Drop() {
	all.mu.Lock()
	db.from.garbage = append(db.from.garbage, db.Name)
	all.mu.Unlock()
	db.settle()
}

// Remove is Drop that returns when the database is gone.
func (db *Database) Remove() error {
	all.mu.Lock()
	err := drop(db.Name)
	all.mu.Unlock()
	db.settle()
	return err
}

// settle waits for what was begun when the database was taken.
func (db *Database) settle() {
	if db.more != nil {
		<-db.more
	}
}

// restock drops what tests have given back, and makes copies for those that come. What fails is met again by whoever needs it.
func (s *stock) restock() {
	for s.next() {
	}
}

// next does one step of restock, and reports whether there may be another. Between two steps tests have their turn.
func (s *stock) next() bool {
	all.mu.Lock()
	defer all.mu.Unlock()
	switch {
	case all.server.address == "":
		return false
	case len(s.copies) < ahead:
		return s.copy() == nil
	case len(s.garbage) > 0:
		name := s.garbage[0]
		s.garbage = s.garbage[1:]
		return drop(name) == nil
	}
	return false
}

// copy makes one more copy. The caller holds the mutex.
func (s *stock) copy() error {
	if s.name == "" {
		if err := s.fill(); err != nil {
			return err
		}
	}
	name, how := newName(), ""
	if all.server.own != nil {
		how = " strategy file_copy" // half the time, for a checkpoint, which costs nothing there
	}
	if err := send("create database " + quote(name) + " template " + quote(s.name) + how); err != nil {
		return fmt.Errorf("copy a database: %w", err)
	}
	s.copies = append(s.copies, name)
	return nil
}

// Create makes an empty database as the databases of tests are made. The locale is C, so that every server sorts alike.
func Create(ctx context.Context, conn *pgx.Conn, name string) error {
	_, err := conn.Exec(ctx, "create database "+quote(name)+" template template0 encoding 'UTF8' lc_collate 'C' lc_ctype 'C'")
	return err
}

// fill makes the template. Nobody can connect to it afterwards, so nobody is in the way of a copy.
func (s *stock) fill() error {
	name := newName()
	if err := withConn(func(ctx context.Context, conn *pgx.Conn) error { return Create(ctx, conn, name) }); err != nil {
		return fmt.Errorf("create a database (give the role of %s the right to: alter role NAME createdb): %w", EnvURL, err)
	}
	if s.template.Fill != nil {
		if err := within(name, s.template.Fill); err != nil {
			return err
		}
	}
	if err := send("alter database " + quote(name) + " allow_connections false"); err != nil {
		return fmt.Errorf("close a template: %w", err)
	}
	s.name = name
	return nil
}

// within runs f on a connection of its own to a database. The caller holds the mutex.
func within(name string, f func(ctx context.Context, conn *pgx.Conn) error) error {
	address, err := all.server.database(name)
	if err != nil {
		return err
	}
	conn, err := connect(address)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), statementTimeout)
	defer cancel()
	return errors.Join(f(ctx, conn), closeConn(conn))
}

// newName returns a name by which a later process knows whose database it was.
func newName() string {
	all.made++
	return "rousetest_" + all.token + "_" + strconv.Itoa(all.made)
}

// send sends one statement on the connection of this process, which shows that it lives: it holds a lock for the token. The caller
// holds the mutex.
func send(sql string) error {
	return whileInUse(func() error {
		return withConn(func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, sql)
			return err
		})
	})
}

// whileInUse repeats f while the server says that the database is in use, which passes: a backend that is on its way out, autovacuum.
func whileInUse(f func() error) error {
	pause := 5 * time.Millisecond
	for attempt := 1; ; attempt++ {
		err := f()
		var pgErr *pgconn.PgError
		if !errors.As(err, &pgErr) || pgErr.Code != objectInUse || attempt == 12 {
			return err
		}
		<-time.After(pause)
		pause = min(2*pause, time.Second)
	}
}

// withConn runs f with the connection of this process, opened anew where it was lost. The caller holds the mutex.
func withConn(f func(ctx context.Context, conn *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), statementTimeout)
	defer cancel()
	if all.conn == nil || all.conn.IsClosed() {
		conn, err := connect(all.server.address)
		if err != nil {
			return err
		}
		if _, err := conn.Exec(ctx, liveSQL, all.token); err != nil {
			return errors.Join(err, closeConn(conn))
		}
		all.conn = conn
	}
	return f(ctx, all.conn)
}

// list returns the texts that a query brings, on the connection of this process. The caller holds the mutex.
func list(sql string, args ...any) (texts []string, err error) {
	err = withConn(func(ctx context.Context, conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		texts, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	return texts, err
}

// sweep drops what dead processes have left.
func sweep() error {
	names, err := list(deadSQL)
	if err != nil {
		return err
	}
	for _, name := range names {
		_ = drop(name) // of another role perhaps, or another process does it
	}
	return nil
}

// drop removes a database, whoever is connected. Prepared transactions that a test has left would keep it, so they go first.
func drop(name string) error {
	gids, err := list(preparedSQL, name)
	if err == nil && len(gids) > 0 {
		err = rollbackPrepared(name, gids)
	}
	if err != nil {
		return err
	}
	return send("drop database if exists " + quote(name) + " with (force)")
}

// rollbackPrepared ends prepared transactions, which is only possible in their own database.
func rollbackPrepared(name string, gids []string) error {
	return within(name, func(ctx context.Context, conn *pgx.Conn) (err error) {
		for _, gid := range gids {
			literal, escapeErr := conn.PgConn().EscapeString(gid)
			if err = errors.Join(err, escapeErr); escapeErr == nil {
				_, rollbackErr := conn.Exec(ctx, "rollback prepared '"+literal+"'")
				err = errors.Join(err, rollbackErr)
			}
		}
		return err
	})
}

// Stop drops every database of this process, and ends the server if it is private. Databases can be taken again afterwards.
func Stop() error {
	all.mu.Lock()
	defer all.mu.Unlock()
	var errs []error
	if all.server.address != "" && all.server.own == nil {
		names, err := list(ownSQL, all.token) // also those that no test has given back, and templates that could not be filled
		errs = append(errs, err)
		for _, name := range names {
			errs = append(errs, drop(name))
		}
	}
	if all.conn != nil {
		errs = append(errs, closeConn(all.conn))
	}
	if all.server.own != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		errs = append(errs, all.server.own.Stop(ctx))
	}
	all.server, all.err, all.conn, all.stocks = server{}, nil, nil, nil
	return errors.Join(errs...)
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }
