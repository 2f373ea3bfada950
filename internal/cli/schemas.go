package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/rouse-es/rouse/internal/database"
	"github.com/rouse-es/rouse/internal/tenants"
)

// schemasFlag adds --schemas, with what it does.
func schemasFlag(flags *pflag.FlagSet, to *string, what string) {
	flags.StringVar(to, "schemas", "", what+": names, or patterns with * and ?, with a comma between them, such as 'tenant_*'")
	fromEnv(flags, "schemas", "ROUSE_SCHEMAS")
}

// patternsOf reads --schemas; an error is one of usage.
func patternsOf(e *env, list string) (tenants.Patterns, error) {
	if e.db.Schema != "" {
		return tenants.Patterns{}, usagef("--schemas and --schema exclude each other (leave out --schema and ROUSE_SCHEMA)")
	}
	p, err := tenants.Parse(list)
	if err != nil {
		return p, usagef("--schemas %q: %w", list, err)
	}
	return p, nil
}

// inSchemas calls do with the database for each schema that list means, one after the other, under a heading with its name unless
// JSON is printed, and returns an error if one has failed. Its exit code is the highest of all. Without list, do is called once.
func inSchemas(ctx context.Context, e *env, list string, do func(ctx context.Context, e *env) error) error {
	if list == "" {
		return do(ctx, e)
	}
	patterns, err := patternsOf(e, list)
	if err != nil {
		return err
	}
	schemas, err := findSchemas(ctx, &e.db, patterns)
	if err != nil {
		return err
	}
	if len(schemas) == 0 {
		return usagef("no schema of the database matches --schemas %s (see \\dn in psql)", list)
	}
	worst := &schemasError{of: len(schemas)}
	for i, schema := range schemas {
		if !e.json {
			if i > 0 {
				err = e.say("")
			}
			if err = errors.Join(err, e.say("schema %s", schema)); err != nil {
				return err
			}
		}
		of := *e
		of.db.Schema, of.schema = schema, schema
		if err := do(ctx, &of); err != nil {
			if ctx.Err() != nil {
				return err
			}
			code, sentence := explain(&of.db, err)
			worst.add(schema, code, sentence)
		}
	}
	if worst.failed == 0 {
		return nil
	}
	return worst
}

// findSchemas looks for schemas on a connection of its own.
func findSchemas(ctx context.Context, db *database.Database, patterns tenants.Patterns) ([]string, error) {
	conn, err := db.Connect(ctx, "schemas")
	if err != nil {
		return nil, err
	}
	defer database.Close(conn)
	return patterns.Find(ctx, conn)
}

// schemasError is what went wrong in several schemas.
type schemasError struct {
	of, failed int
	code       int    // the highest exit code
	first      string // the sentence that belongs to that code first
}

func (e *schemasError) add(schema string, code int, sentence string) {
	if e.failed++; code > e.code {
		e.code, e.first = code, fmt.Sprintf("schema %s: %s", schema, sentence)
	}
}

func (e *schemasError) Error() string {
	if e.failed == 1 {
		return e.first
	}
	return fmt.Sprintf("%d of %d schemas: %s", e.failed, e.of, e.first)
}
