package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// missedLately is how recent a missed push has to be for a finding.
	missedLately = 10 * time.Minute

	// strangerStays is how long a lock has to be held to be a stranger's: appends try S for an instant.
	strangerStays = 200 * time.Millisecond
)

// definer checks who may do what with the functions of the triggers that run with their owner's rights.
func (e *examination) definer(ctx context.Context) ([]Finding, error) {
	rows, err := e.pool.Query(ctx, sqlDefiner)
	if err != nil {
		return nil, err
	}
	var found []Finding
	var function, owner, owns string
	var public bool
	var elsewhere []string
	_, err = pgx.ForEachRow(rows, []any{&function, &owner, &owns, &public, &elsewhere}, func() error {
		found = append(found, definerFaults(function, owner, owns, public, elsewhere)...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return orOK(found, "those that are there are of the owner of events, for events alone"), nil // one that is missing is for the check of the triggers
}

// definerFaults are the faults of one such function: whose it is, whose events is, whether everybody may attach it, and the statements
// that detach it from other tables.
func definerFaults(function, owner, owns string, public bool, elsewhere []string) (found []Finding) {
	if public {
		found = append(found, fail("run: revoke execute on function "+function+" from public",
			"PUBLIC may execute %s, so every role may attach what runs with the rights of %s to a table of its own", function, owner))
	}
	if len(elsewhere) > 0 {
		found = append(found, fail("run: "+strings.Join(elsewhere, "; "),
			"%s, which runs with the rights of %s, is attached to other tables than events", function, owner))
	}
	if owner != owns {
		found = append(found, warn(fmt.Sprintf("run: alter function %s owner to %s", function, pgx.Identifier{owns}.Sanitize()),
			"%s belongs to %s and events to %s: who owns it says what every append runs", function, owner, owns))
	}
	return found
}

// rowSecurity looks for row level security, which hides rows instead of refusing.
func (e *examination) rowSecurity(ctx context.Context) ([]Finding, error) {
	rows, err := e.pool.Query(ctx, sqlRowSecurity)
	if err != nil {
		return nil, err
	}
	var found []Finding
	var table string
	var active bool
	_, err = pgx.ForEachRow(rows, []any{&table, &active}, func() error {
		do := "run as the owner of the schema: alter table " + table + " disable row level security"
		if active {
			found = append(found, fail(do+"; or give the role BYPASSRLS", "row level security hides rows of %s from the role, and workers do not start", table))
		} else {
			found = append(found, warn(do, "%s has row level security: not for this role, but workers of another one would not start", table))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return orOK(found, "none of the tables has it"), nil
}

// pushes looks for living workers that the push has not reached lately.
func (e *examination) pushes(ctx context.Context) ([]Finding, error) {
	rows, err := e.pool.Query(ctx, sqlPushes, missedLately.Seconds())
	if err != nil {
		return nil, err
	}
	var found []Finding
	var label, host string
	var pid int
	var missed int64
	var seconds float64
	_, err = pgx.ForEachRow(rows, []any{&label, &host, &pid, &missed, &seconds}, func() error {
		found = append(found, warn("see the checks of triggers, locks and pooler; nothing is lost, but events are handled when a poll finds them",
			"%s (process %d on %s) has missed %d pushes, the last %s ago", label, pid, host, missed, age(seconds)))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return orOK(found, "no worker has missed one in %s", missedLately), nil
}

// stranger is a session that has a lock of the protocol for itself, or wants it.
type stranger struct {
	pid           int
	role, program string
	lock          string
	holds         bool
}

// locks looks for strangers in the way of the protocol. It looks twice, because what an append tries is gone at once.
func (e *examination) locks(ctx context.Context) ([]Finding, error) {
	first, err := e.strangers(ctx)
	if err != nil || len(first) == 0 {
		return one(ok("nobody stands in the way of appends and workers")), err
	}
	select {
	case <-time.After(strangerStays):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	again, err := e.strangers(ctx)
	if err != nil {
		return nil, err
	}
	var found []Finding
	for _, key := range slices.Sorted(maps.Keys(again)) {
		s := again[key]
		if _, stays := first[key]; !stays {
			continue
		}
		verb, session := "waits for", fmt.Sprintf("session %d of %q, role %s,", s.pid, s.program, s.role)
		if s.holds {
			verb = "holds"
		}
		do := fmt.Sprintf("find out what it is for, and end it with: select pg_terminate_backend(%d)", s.pid)
		if s.pid == 0 {
			session, do = "a prepared transaction", "find it in pg_prepared_xacts, and commit it or roll it back"
		}
		what := map[string]string{
			"K":        "the lock of appends, which go round it and hold readers back a little longer",
			"S":        "the lock by which appends see whether workers sleep, so that each append has to notify",
			"presence": "the lock by which a worker shows that it lives",
		}[s.lock]
		found = append(found, warn(do, "%s %s exclusively %s", session, verb, what))
	}
	return orOK(found, "nobody stands in the way of appends and workers"), nil
}

// strangers returns the strangers of this moment, by session and lock.
func (e *examination) strangers(ctx context.Context) (map[string]stranger, error) {
	rows, err := e.pool.Query(ctx, sqlStrangers)
	if err != nil {
		return nil, err
	}
	found := map[string]stranger{}
	var s stranger
	_, err = pgx.ForEachRow(rows, []any{&s.pid, &s.role, &s.program, &s.lock, &s.holds}, func() error {
		found[fmt.Sprint(s.pid, s.lock)] = s
		return nil
	})
	return found, err
}
