package rebuild

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rouse-es/rouse/internal/apply"
	"github.com/rouse-es/rouse/internal/db"
)

// prepareTimeout bounds the making of the tables of a shadow, with what the user's own code does for it.
const prepareTimeout = 2 * time.Minute

// Plan says how the tables of a shadow are made.
type Plan struct {
	Tables []string                                   // their names, without a schema; at least one
	Create func(ctx context.Context, tx pgx.Tx) error // makes them, unqualified; nil: they are made like those that are live
}

// SchemaFor returns the name of the schema for the tables of a shadow, in the log of a schema.
func SchemaFor(log, shadow string) string {
	name := "rouse_" + strings.ReplaceAll(shadow, Mark, "_")
	if log != "" && log != "public" {
		name = "rouse_" + log + "_" + strings.ReplaceAll(shadow, Mark, "_")
	}
	const most = 63 // bytes, which PostgreSQL cuts a name to
	if len(name) <= most {
		return name
	}
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(name))
	return strings.ToValidUTF8(name[:most-9], "") + fmt.Sprintf("_%08x", sum.Sum32())
}

// Prepare makes the tables of a shadow in a schema of their own, unless they are there. d is the pool of a worker, and presence its key.
// What keeps it from doing so is a Refusal where trying again mends nothing.
func Prepare(ctx context.Context, d *db.Pool, presence int32, s Shadow, plan Plan) error {
	ctx, cancel := context.WithTimeout(ctx, prepareTimeout)
	defer cancel()
	p := preparing{d: d, shadow: s, plan: plan, schema: SchemaFor(d.Schema, s.Name)}
	return rightsOf(apply.InTransaction(ctx, d.Behind(p.schema), presence, prepareTimeout, func(tx pgx.Tx, restore func() error) error {
		return p.make(ctx, tx, restore)
	}))
}

// rightsOf returns err with what helps, where a role lacks a right: it may have the least that a worker needs.
func rightsOf(err error) error {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Code == "42501" { // insufficient_privilege
		return fmt.Errorf("%w (the role has to make a schema and to own the tables: do it under the owner's role; for a rebuild start one worker under it)", err)
	}
	return err
}

type preparing struct {
	d      *db.Pool
	shadow Shadow
	plan   Plan
	schema string

	live []uint32 // the tables that are live
	home string   // their schema
}

func (p *preparing) make(ctx context.Context, tx pgx.Tx, restore func() error) error {
	var ready bool
	err := tx.QueryRow(ctx, sqlReadyLock.For(p.d), p.shadow.Name).Scan(&ready)
	if ready || errors.Is(err, pgx.ErrNoRows) { // another worker was faster, or it is gone
		return nil
	}
	if err != nil {
		return err
	}
	if err := makeSchema(ctx, tx, p.schema); err != nil {
		return err
	}
	present, err := p.resolve(ctx, tx)
	if err != nil {
		return err
	}
	if p.plan.Create == nil {
		err = p.copy(ctx, tx)
	} else {
		err = p.create(ctx, tx, restore)
	}
	if err != nil {
		return err
	}
	made, err := p.made(ctx, tx)
	if err != nil {
		return err
	}
	// The tables of another version are known best to its own workers.
	if _, err := tx.Exec(ctx, sqlKnown.For(p.d), p.shadow.Of, p.shadow.Live, present, p.home, p.shadow.Version == p.shadow.Live); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, sqlReady.For(p.d), p.shadow.Name, made, p.schema); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, sqlTell.For(p.d), p.d.Schema)
	return err
}

// makeSchema makes a schema, or takes one that is there and empty.
func makeSchema(ctx context.Context, tx pgx.Tx, name string) error {
	var there, full, own bool
	if err := tx.QueryRow(ctx, sqlSchema.In(""), name).Scan(&there, &full, &own); err != nil {
		return err
	}
	switch {
	case full:
		return refuse("the schema %s is to hold the new tables, and there is something in it (drop it: drop schema %s cascade)", name, pgx.Identifier{name}.Sanitize())
	case there:
		return nil
	}
	_, err := tx.Exec(ctx, "create schema "+pgx.Identifier{name}.Sanitize())
	return err
}

// resolve finds the tables that are live, and returns the names of those that are there.
func (p *preparing) resolve(ctx context.Context, tx pgx.Tx) (present []string, err error) {
	present = []string{}
	rows, err := tx.Query(ctx, sqlResolve.In(""), p.plan.Tables, p.schema)
	if err != nil {
		return nil, err
	}
	var name string
	var schema *string
	var oid *uint32
	var missing []string
	_, err = pgx.ForEachRow(rows, []any{&name, &schema, &oid}, func() error {
		switch {
		case oid == nil:
			missing = append(missing, name)
			return nil
		case p.home != "" && p.home != *schema:
			return refuse("the tables of %s are in two schemas, %s and %s, and have to be in one", p.shadow.Of, p.home, *schema)
		}
		p.home = *schema
		p.live, present = append(p.live, *oid), append(present, name)
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case len(missing) > 0 && p.plan.Create == nil:
		return nil, refuse("there is no table %s where the handler of %s looks for it (Tables names it)", strings.Join(missing, ", "), p.shadow.Of)
	case p.home == "":
		err = tx.QueryRow(ctx, sqlHome.In(""), p.schema).Scan(&p.home)
	}
	return present, err
}

// copy makes the tables like those that are live.
func (p *preparing) copy(ctx context.Context, tx pgx.Tx) error {
	if err := replaceable(ctx, tx, p.live); err != nil {
		return err
	}
	var path string
	if err := tx.QueryRow(ctx, "select current_setting('search_path')").Scan(&path); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "set local search_path = pg_catalog"); err != nil {
		return err
	}
	if err := runAll(ctx, tx, sqlCopy, p.live, p.schema); err != nil {
		return err
	}
	if err := runAll(ctx, tx, sqlUsage, p.live, p.schema); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "select set_config('search_path', $1, true)", path)
	return err
}

// replaceable returns a Refusal that names what keeps tables from being replaced, nil if nothing does.
func replaceable(ctx context.Context, tx pgx.Tx, tables []uint32) error {
	reasons, err := texts(ctx, tx, sqlRefuse.In(""), tables)
	if err != nil || len(reasons) == 0 {
		return err
	}
	return refuse("its tables cannot be replaced by others: %s", strings.Join(reasons, "; "))
}

// runAll runs the statements that a statement returns.
func runAll(ctx context.Context, tx pgx.Tx, of *db.Statement, args ...any) error {
	statements, err := texts(ctx, tx, of.In(""), args...)
	if err != nil {
		return err
	}
	for _, sql := range statements {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

func texts(ctx context.Context, tx pgx.Tx, sql string, args ...any) ([]string, error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// create has the user's code make the tables.
func (p *preparing) create(ctx context.Context, tx pgx.Tx, restore func() error) error {
	handlerTx := apply.NewHandlerTx(tx)
	err := apply.Apart(func() error { return p.plan.Create(ctx, handlerTx) })
	handlerTx.Return()
	if err != nil {
		return fmt.Errorf("make the tables of %s: %w", p.shadow.Name, err)
	}
	return restore()
}

// made returns the tables that are in the schema by now.
func (p *preparing) made(ctx context.Context, tx pgx.Tx) (tables []string, err error) {
	rows, err := tx.Query(ctx, sqlMade.In(""), p.schema)
	if err != nil {
		return nil, err
	}
	var name, what string
	var table bool
	var others []string
	_, err = pgx.ForEachRow(rows, []any{&name, &table, &what}, func() error {
		if table {
			tables = append(tables, name)
		} else {
			others = append(others, what)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(others) > 0 {
		return nil, refuse("only tables can change places, and Create has made %s (make it elsewhere)", strings.Join(others, ", "))
	}
	for _, name := range p.plan.Tables {
		if !slices.Contains(tables, name) {
			return nil, refuse("Create has not made the table %s, which Tables names (make it without a schema)", name)
		}
	}
	return tables, nil
}

// Known writes down which tables the read model of a live projection has, as the handlers of a worker find them.
func Known(ctx context.Context, d *db.Pool, presence int32, projection string, version int, tables []string) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	return apply.InTransaction(ctx, d, presence, statementTimeout, func(tx pgx.Tx, _ func() error) error {
		p := preparing{d: d, shadow: Shadow{Of: projection}, plan: Plan{Tables: tables}}
		present, err := p.resolve(ctx, tx)
		var refusal *Refusal
		if errors.As(err, &refusal) {
			return nil // which a rebuild will say
		}
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, sqlKnown.For(d), projection, version, present, p.home, true)
		return err
	})
}
