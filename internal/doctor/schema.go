package doctor

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rouse-es/rouse/migrations"
)

// The two triggers, and the value of pg_trigger.tgtype of each: for each statement, INSERT, and BEFORE or AFTER.
const (
	triggerBefore = "rouse_append_before"
	triggerAfter  = "rouse_append_after"

	// functionCarry is the function of the second where pushes carry events.
	functionCarry = "rouse_append_carry"

	typeBefore = 4 | 2
	typeAfter  = 4
)

const asPrinted = "put it back as `rouse migrate --print` has it"

// schema checks the version of the schema.
func (e *examination) schema(ctx context.Context) ([]Finding, error) {
	err := migrations.Check(ctx, e.pool)
	var denied *pgconn.PgError
	switch {
	case err == nil:
		version, _, err := migrations.Version(ctx, e.pool)
		return one(ok("version %d, and this binary was made for %d", version, migrations.Latest())), err
	case errors.Is(err, migrations.ErrMissing):
		return e.elsewhere(ctx, err)
	case errors.As(err, &denied) && denied.Code == "42501": // insufficient_privilege
		return one(fail("grant select on rouse_migrations to the role", "%s", denied.Message)), nil
	case errors.Is(err, migrations.ErrOlder), errors.Is(err, migrations.ErrNewer):
		text, do := split(plain(err))
		return one(fail(do, "%s", text)), nil
	}
	return nil, err
}

// elsewhere looks for tables in other schemas, which the role does not see. missing is the finding if there are none.
func (e *examination) elsewhere(ctx context.Context, missing error) ([]Finding, error) {
	rows, err := e.pool.Query(ctx, sqlSchemas)
	if err != nil {
		return nil, err
	}
	var found []Finding
	var schema, role string
	var usable bool
	_, err = pgx.ForEachRow(rows, []any{&schema, &role, &usable}, func() error {
		name := pgx.Identifier{schema}.Sanitize()
		if usable {
			found = append(found, fail("use --schema "+schema+", or set search_path", "there are no tables where search_path leads, but in schema %s", name))
		} else {
			found = append(found, fail("run as the owner of the schema: grant usage on schema "+name+" to "+pgx.Identifier{role}.Sanitize(),
				"there are tables in schema %s, which the role may not use", name))
		}
		return nil
	})
	if err != nil || len(found) > 0 {
		return found, err
	}
	text, do := split(plain(missing))
	return one(fail(do, "%s", text)), nil
}

// rights checks the rights of the role.
func (e *examination) rights(ctx context.Context) ([]Finding, error) {
	err := migrations.CheckRights(ctx, e.pool)
	switch {
	case err == nil, errors.Is(err, migrations.ErrRowSecurity): // which has a check of its own
		return one(ok("the role may do what a worker has to")), nil
	case errors.Is(err, migrations.ErrRights), errors.Is(err, migrations.ErrIncomplete):
		text, do := split(plain(err))
		return one(fail(do, "%s", text)), nil
	}
	return nil, err
}

// trigger is one of the two as it should be.
type trigger struct {
	name    string
	kind    int16
	definer bool
	without string // the consequence of its absence
}

// triggers checks both triggers.
func (e *examination) triggers(ctx context.Context) ([]Finding, error) {
	var found []Finding
	for _, t := range []trigger{
		{triggerBefore, typeBefore, true, "without it events of slow commits are lost"},
		{triggerAfter, typeAfter, false, "without it nothing wakes workers"},
	} {
		faults, err := e.trigger(ctx, t)
		if err != nil {
			return nil, err
		}
		found = append(found, faults...)
	}
	return orOK(found, "both are there, ENABLE ALWAYS, and of this version"), nil
}

// trigger returns the faults of one trigger, nil if there is none.
func (e *examination) trigger(ctx context.Context, t trigger) ([]Finding, error) {
	var enabled, function, body, sequence, mend string
	var kind int16
	var conditional, definer, bare, key bool
	err := e.pool.QueryRow(ctx, sqlTrigger, t.name).Scan(&enabled, &kind, &conditional, &function, &body, &definer, &bare, &sequence, &mend, &key)
	if function == functionCarry && t.name == triggerAfter {
		t.definer = true
	} else {
		function = t.name
	}
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return one(fail(asPrinted, "%s is missing; %s", t.name, t.without)), nil
	case err != nil:
		return nil, err
	case kind != t.kind || conditional:
		return one(fail(asPrinted, "%s does not run once for each INSERT statement, at its time; %s", t.name, t.without)), nil
	case body != migrations.FunctionBody(function) || definer != t.definer || !bare:
		return one(fail(asPrinted, "the function of %s is not that of this version: it was replaced, or a migration was not applied as it is", t.name)), nil
	case function == functionCarry && sequence != "known" && enabled == "A":
		return one(warn("run: rouse migrate --carry on", "%s has the arguments of another table or sequence, as after a restore: pushes carry nothing", t.name)), nil
	case function == functionCarry && !key && enabled == "A":
		return one(warn("grant select on rouse_push_key to the role of workers", "pushes carry events, and this role may not read the key that they are sealed with: they are read all the same")), nil
	case sequence == "wrong" && function == triggerBefore:
		return one(fail("run: "+mend, "%s looks at a sequence that is not that of events, and workers stand still; %s", t.name, t.without)), nil
	case sequence == "unknown" && enabled == "A":
		return one(warn("run: "+mend, "%s looks its sequence up in every append, as after a restore: an append costs the server a tenth more", t.name)), nil
	}
	do := "run: alter table events enable always trigger " + t.name
	switch enabled {
	case "A":
		return nil, nil
	case "O":
		return one(fail(do, "%s is not ENABLE ALWAYS, so sessions in replica role skip it; %s", t.name, t.without)), nil
	case "R":
		return one(fail(do, "%s runs in sessions in replica role only; %s", t.name, t.without)), nil
	}
	return one(fail(do, "%s is disabled; %s", t.name, t.without)), nil
}

// maxSpread is how many positions may lie between the oldest open append and the head: a lock has 40 bits for the position.
const maxSpread = 1 << 39

// sequence checks the sequence of the positions.
func (e *examination) sequence(ctx context.Context) ([]Finding, error) {
	var name, identity string
	var cache, increment int64
	var last *int64
	var highest int64
	if err := e.pool.QueryRow(ctx, sqlSequence).Scan(&name, &identity, &cache, &increment, &last, &highest); err != nil {
		return nil, err
	}
	if name == "" {
		return one(fail("run: alter table events alter global_position add generated always as identity, and set its sequence beyond the last position",
			"global_position has no sequence")), nil
	}
	var found []Finding
	if identity != "a" {
		found = append(found, fail("run: alter table events alter global_position set generated always",
			"global_position is not GENERATED ALWAYS, so writers may choose positions that no append answers for"))
	}
	if cache != 1 {
		found = append(found, fail("run: alter table events alter global_position set cache 1",
			"it caches %d values, and cached positions are written out of sight of the workers", cache))
	}
	if increment != 1 {
		found = append(found, fail("run: alter table events alter global_position set increment 1",
			"its increment is %d, and positions have to rise one by one", increment))
	}
	if last == nil && highest > 0 {
		// It was restarted, or is out of sight, which is for the check of rights. Its name comes from the server, quoted.
		if err := e.pool.QueryRow(ctx, "select last_value - 1 from "+name).Scan(&last); err != nil && !migrations.Lacking(err) {
			return nil, err
		}
	}
	if last != nil && *last < highest {
		found = append(found, fail(fmt.Sprintf("run: select setval('%s', %d)", name, highest),
			"it is at %d, behind the last event at position %d: appends fail until it has caught up, and workers cannot rely on it", *last, highest))
	}
	if last != nil && *last-highest >= maxSpread {
		found = append(found, warn("move it only while nothing is appended; if something was, compare what it has committed with the read models: it may have been passed over",
			"it is at %d, %d positions beyond the last event, and the lock of an append that is open across 2^39 positions cannot be told from one beyond them", *last, *last-highest))
	}
	return orOK(found, "GENERATED ALWAYS, CACHE 1, INCREMENT 1, not behind the last event, no jump of 2^39 beyond it"), nil
}

// checkpoints looks for checkpoints beyond the end of the log.
func (e *examination) checkpoints(ctx context.Context) ([]Finding, error) {
	rows, err := e.pool.Query(ctx, sqlCheckpoints)
	if err != nil {
		return nil, err
	}
	var found []Finding
	var projection string
	var partitions int
	var furthest, head int64
	_, err = pgx.ForEachRow(rows, []any{&projection, &partitions, &furthest, &head}, func() error {
		found = append(found, fail("put the events back from the backup that the checkpoints are of, or build the read model anew",
			"%d checkpoints of %s are beyond the log, up to position %d, and the log ends at %d: it was truncated or restored", partitions, projection, furthest, head))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return orOK(found, "none is beyond the log"), nil
}
