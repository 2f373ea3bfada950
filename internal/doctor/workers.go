package doctor

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/internal/report"
)

// read reads the report that the checks of this file judge.
func (e *examination) read(ctx context.Context) (_ []Finding, err error) {
	e.state, err = report.Read(ctx, e.pool)
	return nil, err
}

// appends looks for open transactions that hold back events that were committed behind them. The report has those that have been
// open for a second or longer.
func (e *examination) appends(context.Context) ([]Finding, error) {
	var found []Finding
	for _, a := range e.state.OpenAppends {
		if a.AgeSeconds == nil {
			continue // it may have begun just now
		}
		who, do := fmt.Sprintf("session %d of %q, role %s, %s", a.PID, a.Application, a.Role, a.State),
			fmt.Sprintf("let it commit, or end it with: select pg_terminate_backend(%d)", a.PID)
		if a.PID == 0 {
			who = fmt.Sprintf("the prepared transaction %q", a.Prepared)
			do = fmt.Sprintf("end it with: commit prepared or rollback prepared %q", a.Prepared)
		}
		if *a.AgeSeconds < e.Long.Seconds() {
			do = "nothing, if it ends in a moment; otherwise " + do
		}
		found = append(found, warn(do, "%s, has appended and been open for %s, and holds back everything after position %d", who, age(*a.AgeSeconds), a.HoldsAfter))
	}
	return orOK(found, "none has held anything back for longer than %s", report.OpenFor), nil
}

// lag looks for projections that a worker runs and that are behind.
func (e *examination) lag(context.Context) ([]Finding, error) {
	var found []Finding
	var furthest report.Projection
	for _, p := range e.state.Projections {
		if p.State != "running" || !e.runs(p.Name) {
			continue // which is a finding by itself
		}
		if p.LagSeconds >= e.Long.Seconds() {
			found = append(found, warn("nothing, if it catches up; otherwise see what else is found here, and whether its handler is slow: more workers or --concurrency share the work",
				"%s is %d positions and %s behind", p.Name, p.LagEvents, age(p.LagSeconds)))
		}
		if p.LagSeconds > furthest.LagSeconds {
			furthest = p
		}
	}
	if furthest.LagEvents > 0 {
		return orOK(found, "none is behind for longer than %s, the furthest is %s with %d positions and %s", e.Long, furthest.Name, furthest.LagEvents, age(furthest.LagSeconds)), nil
	}
	return orOK(found, "none is behind"), nil
}

// runs reports whether a living worker runs a projection.
func (e *examination) runs(projection string) bool {
	for _, w := range e.state.Workers {
		if _, runs := w.States[projection]; runs && w.Alive {
			return true
		}
	}
	return false
}

// projections looks for projections that are stopped, paused, or not run by a living worker.
func (e *examination) projections(context.Context) ([]Finding, error) {
	var found []Finding
	for _, p := range e.state.Projections {
		if p.Stopped {
			text := p.Name + " is stopped"
			if p.ErrorPosition != 0 {
				text += fmt.Sprintf(" at position %d", p.ErrorPosition)
			}
			if p.LastError != "" {
				text += ": " + strings.ReplaceAll(p.LastError, "\n", " ")
			}
			found = append(found, fail("mend the handler or the data that it met, and start its worker again", "%s", text))
		}
		switch {
		case p.State == "paused":
			found = append(found, warn("nothing, until it is resumed by whoever paused it", "%s is paused", p.Name))
		case !p.Stopped && !e.runs(p.Name):
			found = append(found, warn("start a worker that runs it, or if it is not wanted any more: rouse projection drop "+p.Name,
				"no living worker runs %s, which is %d positions behind", p.Name, p.LagEvents))
		}
		if p.Reset != nil && p.Reset.Tries > 0 {
			found = append(found, warn("mend what the error names; workers try ten times, and then take the request back", "%s is to start over and has not, in %d tries: %s",
				p.Name, p.Reset.Tries, strings.ReplaceAll(p.Reset.Error, "\n", " ")))
		}
		found = append(found, e.troubles(p)...)
	}
	for _, r := range e.state.Retired {
		for _, worker := range r.Workers {
			do, what := "take it out of its program, or, if it is to begin anew: rouse projection create "+r.Name+" --from, and start the worker again", "was dropped"
			if r.RenamedTo != "" {
				do, what = "name it so in its program, and start the worker again", "is called "+r.RenamedTo+" now"
			}
			found = append(found, warn(do, "%s has %s in its program, which %s", worker, r.Name, what))
		}
	}
	return orOK(found, "%d, each of them is run by a worker", len(e.state.Projections)), nil
}

// troubles returns what keeps a projection from getting on, which is a failure once it lasts.
func (e *examination) troubles(p report.Projection) (found []Finding) {
	for _, t := range p.Troubles {
		level := warn
		if t.AgeSeconds >= e.Long.Seconds() {
			level = fail
		}
		found = append(found, level("mend what the error names; it goes on by itself then",
			"%s is %s in %s, for %s: %s", p.Name, t.State, t.Worker, age(t.AgeSeconds), strings.ReplaceAll(t.Text, "\n", " ")))
	}
	return found
}

// partitions looks for partitions without an owner although a worker could own them.
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

// workers looks for workers that count as dead.
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

// handlers looks for handlers that have not returned.
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

// retrying looks for events that are tried again by themselves.
func (e *examination) retrying(context.Context) ([]Finding, error) {
	var found []Finding
	for _, p := range e.state.Projections {
		if r := p.Retrying; r.Events > 0 {
			found = append(found, warn("nothing, if the cause goes away; `rouse parked list --projection "+p.Name+" --by-aggregate` has all errors and the next tries",
				"%s tries %d again, with those behind them, aggregates that wait: %d, the first for %s, the event at position %d: %s",
				p.Name, r.Events, r.Aggregates, age(ageOf(r)), r.Position, oneLine(r.Error)))
		}
	}
	return orOK(found, "none"), nil
}

// ageOf returns how long ago the first of p was set aside, in seconds.
func ageOf(p report.Parked) float64 {
	if p.OldestAgeSeconds == nil {
		return 0
	}
	return *p.OldestAgeSeconds
}

// shownError is how much of an error is shown, in bytes.
const shownError = 200

// oneLine returns the beginning of an error on one line.
func oneLine(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	switch {
	case text == "":
		return "no error is known yet"
	case len(text) > shownError:
		return strings.ToValidUTF8(text[:shownError], "") + "..."
	}
	return text
}

// parked looks for parked events.
func (e *examination) parked(context.Context) ([]Finding, error) {
	var found []Finding
	for _, p := range e.state.Projections {
		if p.Parked.Events == 0 {
			continue
		}
		found = append(found, warn("see `rouse parked list --projection "+p.Name+"`; mend the cause, then `rouse parked retry`, or `rouse parked discard`",
			"%s has %d, aggregates that wait: %d, the first was parked %s ago, the event at position %d: %s",
			p.Name, p.Parked.Events, p.Parked.Aggregates, age(ageOf(p.Parked)), p.Parked.Position, oneLine(p.Parked.Error)))
	}
	return orOK(found, "none"), nil
}
