package doctor

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/internal/report"
)

// read reads what the checks of this file judge.
func (e *examination) read(ctx context.Context) (_ []Finding, err error) {
	e.state, err = report.Read(ctx, e.pool)
	return nil, err
}

// appends looks for open transactions that hold back what was committed behind them.
func (e *examination) appends(context.Context) ([]Finding, error) {
	var found []Finding
	for _, a := range e.state.OpenAppends {
		if a.AgeSeconds == nil || *a.AgeSeconds < e.Long.Seconds() {
			continue
		}
		who, do := fmt.Sprintf("session %d of %q, role %s, %s", a.PID, a.Application, a.Role, a.State),
			fmt.Sprintf("let it commit, or end it with: select pg_terminate_backend(%d)", a.PID)
		if a.PID == 0 {
			who = fmt.Sprintf("the prepared transaction %q", a.Prepared)
			do = fmt.Sprintf("end it with: commit prepared or rollback prepared %q", a.Prepared)
		}
		found = append(found, warn(do, "%s, has appended and been open for %s, and holds back everything after position %d", who, age(*a.AgeSeconds), a.HoldsAfter))
	}
	return orOK(found, "none has been open for longer than %s", e.Long), nil
}

// runs tells whether a living worker runs a projection.
func (e *examination) runs(projection string) bool {
	for _, w := range e.state.Workers {
		if _, runs := w.States[projection]; runs && w.Alive {
			return true
		}
	}
	return false
}

func (e *examination) projections(context.Context) ([]Finding, error) {
	var found []Finding
	for _, p := range e.state.Projections {
		switch {
		case p.State == "stopped":
			text := p.Name + " is stopped"
			if p.ErrorPosition != 0 {
				text += fmt.Sprintf(" at position %d", p.ErrorPosition)
			}
			if p.LastError != "" {
				text += ": " + strings.ReplaceAll(p.LastError, "\n", " ")
			}
			found = append(found, fail("mend the handler or the data that it met, and start its worker again", "%s", text))
		case p.State == "paused":
			found = append(found, warn("nothing, until it is resumed by whoever paused it", "%s is paused", p.Name))
		case !e.runs(p.Name):
			found = append(found, warn("start a worker that runs it, or take its row out of projections if it is given up",
				"no living worker runs %s, which is %d positions behind", p.Name, p.LagEvents))
		}
	}
	return orOK(found, "%d, each of them is run by a worker", len(e.state.Projections)), nil
}

// partitions looks for those without an owner although somebody could own them.
func (e *examination) partitions(context.Context) ([]Finding, error) {
	var found []Finding
	for _, p := range e.state.Projections {
		if p.Unowned == 0 || p.State != "running" || !e.runs(p.Name) {
			continue
		}
		var numbers []string
		for _, part := range p.Partitions {
			if part.Instance == "" {
				numbers = append(numbers, fmt.Sprint(part.Partition))
			}
		}
		found = append(found, warn("nothing, if workers come or go just now; otherwise start the static worker that is missing, or more workers where each has reached its most",
			"%d of %d partitions of %s have no owner: %s", p.Unowned, len(p.Partitions), p.Name, strings.Join(numbers, ", ")))
	}
	return orOK(found, "each that a worker could own has an owner"), nil
}

func (e *examination) workers(context.Context) ([]Finding, error) {
	var found []Finding
	alive := 0
	for _, w := range e.state.Workers {
		if w.Alive {
			alive++
			continue
		}
		found = append(found, warn("see why it died; others have its partitions, if it was elastic, and its row goes away within a day",
			"%s (process %d on %s) counts as dead: its last heartbeat is %s old", w.Label, w.PID, w.Host, age(w.HeartbeatAgeSeconds)))
	}
	if alive == 0 {
		return orOK(found, "none is registered"), nil
	}
	return orOK(found, "%d, all of them alive", alive), nil
}

// handlers looks for those that have not come back.
func (e *examination) handlers(ctx context.Context) ([]Finding, error) {
	rows, err := e.pool.Query(ctx, sqlAvoids)
	if err != nil {
		return nil, err
	}
	var found []Finding
	var label, host, projection, partitions string
	var pid int
	_, err = pgx.ForEachRow(rows, []any{&label, &host, &pid, &projection, &partitions}, func() error {
		found = append(found, warn("restart that worker, and let the handler heed its context",
			"a handler of %s in %s (process %d on %s) has not come back after its time: the worker cannot take partitions %s", projection, label, pid, host, partitions))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return orOK(found, "none hangs"), nil
}

func (e *examination) parked(context.Context) ([]Finding, error) {
	var found []Finding
	for _, p := range e.state.Projections {
		if p.Parked.Events == 0 {
			continue
		}
		var oldest float64
		if p.Parked.OldestAgeSeconds != nil {
			oldest = *p.Parked.OldestAgeSeconds
		}
		found = append(found, warn("see `rouse parked list --projection "+p.Name+"`; mend the cause, then `rouse parked retry`, or `rouse parked discard`",
			"%s has %d, aggregates that wait: %d, the first was parked %s ago", p.Name, p.Parked.Events, p.Parked.Aggregates, age(oldest)))
	}
	return orOK(found, "none"), nil
}
