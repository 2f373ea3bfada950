// Package doctor checks everything that Rouse relies on in a database, and for each fault names the remedy. It changes
// nothing, but for the positions that Config.Append uses up, and takes no lock that another session waits for. It needs three
// connections for a moment, and up to twenty-one more where the server can spare twice as many.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rouse-es/rouse/internal/report"
	"github.com/rouse-es/rouse/migrations"
)

const (
	// DefaultLong is how long a transaction may be open before it is a finding.
	DefaultLong = time.Minute

	// checkTimeout bounds one check, with all its statements and connections.
	checkTimeout = 20 * time.Second
)

// Level is the severity of a finding.
type Level string

const (
	// OK means that it is as it has to be.
	OK Level = "ok"

	// Warn means that it works, but not as well as it could, or that it waits for a person.
	Warn Level = "warn"

	// Fail means that events are lost or stand still, or will be.
	Fail Level = "fail"
)

// Finding is one result of one check.
type Finding struct {
	Check string `json:"check"`
	Level Level  `json:"level"`
	Text  string `json:"text"`

	// Do is the remedy; "" for OK.
	Do string `json:"do,omitempty"`
}

// Report has the findings of all checks, in their order. A check has one OK finding or any number of others. Where
// there is no server or no schema, the checks that need one are left out.
type Report struct {
	Findings []Finding `json:"findings"`

	// Failed and Warned count the findings of these levels.
	Failed int `json:"failed"`
	Warned int `json:"warned"`
}

// Config selects the database and the address to examine.
type Config struct {
	// Pool has the settings to connect with, as a worker does. Required.
	Pool *pgxpool.Config

	// Listen is the address that a worker would listen through; nil: that of Pool.
	Listen *pgx.ConnConfig

	// Explain returns an error of connecting as a sentence, without addresses and passwords in it; the remedy stands in
	// parentheses. Required.
	Explain func(error) string

	// Append tries appends, too, and rolls them back; their positions, four at most, stay unused. It needs the right to append.
	Append bool

	// Long is how long a transaction may be open. 0: DefaultLong.
	Long time.Duration
}

// examination is the state of one Examine. Its checks run one after the other.
type examination struct {
	Config
	pool   *pgxpool.Pool
	report Report

	standby bool          // written by the check of the source
	state   report.Report // written by the check of the state, for those after it
}

// Examine runs all checks and returns their findings. An error of a check is a finding too.
func Examine(ctx context.Context, cfg Config) Report {
	if cfg.Long == 0 {
		cfg.Long = DefaultLong
	}
	e := &examination{Config: cfg, report: Report{Findings: []Finding{}}}
	if e.reach(ctx) {
		defer e.pool.Close()
		e.examine(ctx)
	}
	for _, f := range e.report.Findings {
		switch f.Level {
		case Fail:
			e.report.Failed++
		case Warn:
			e.report.Warned++
		}
	}
	return e.report
}

// examine runs the checks that need a server, and those that need a schema if there is one.
func (e *examination) examine(ctx context.Context) {
	e.check(ctx, "encoding", e.encoding)
	e.check(ctx, "pooler", e.pooler)
	e.check(ctx, "role", e.role)
	e.check(ctx, "access", e.access)
	e.check(ctx, "encryption", e.encryption)
	sound := e.check(ctx, "schema", e.schema)
	e.check(ctx, "source", e.source)
	if !e.standby {
		e.check(ctx, "listen", e.listen)
		e.check(ctx, "notify queue", e.queue)
	}
	e.check(ctx, "connections", e.connections)
	e.check(ctx, "idle sessions", e.idle)
	if !sound {
		return
	}
	e.check(ctx, "rights", e.rights)
	e.check(ctx, "row security", e.rowSecurity)
	e.check(ctx, "triggers", e.triggers)
	e.check(ctx, "definer", e.definer)
	e.check(ctx, "sequence", e.sequence)
	e.check(ctx, "engine", e.engine)
	e.check(ctx, "checkpoints", e.checkpoints)
	if !e.check(ctx, "state", e.read) {
		return
	}
	e.check(ctx, "open appends", e.appends)
	e.check(ctx, "snapshots", e.snapshots)
	e.check(ctx, "projections", e.projections)
	e.check(ctx, "lag", e.lag)
	e.check(ctx, "partitions", e.partitions)
	e.check(ctx, "workers", e.workers)
	e.check(ctx, "pushes", e.pushes)
	e.check(ctx, "locks", e.locks)
	e.check(ctx, "handlers", e.handlers)
	e.check(ctx, "retrying events", e.retrying)
	e.check(ctx, "parked events", e.parked)
	if e.Append {
		e.check(ctx, "positions", e.positions)
	}
}

// check runs one check and notes its findings. It reports whether none is a failure.
func (e *examination) check(ctx context.Context, name string, f func(ctx context.Context) ([]Finding, error)) bool {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	found, err := f(ctx)
	switch {
	case err != nil && migrations.Lacking(err):
		found = append(found, fail("grant what the check of rights names, or use the role that workers have", "cannot be looked at: %s", cause(err)))
	case err != nil:
		text, do := split(e.Explain(err))
		if do == "" {
			do = "run this again, and look into the server's log if it stays"
		}
		found = append(found, fail(do, "cannot be looked at: %s", text))
	}
	sound := true
	for _, finding := range found {
		finding.Check = name
		sound = sound && finding.Level != Fail
		e.report.Findings = append(e.report.Findings, finding)
	}
	return sound
}

// reach connects, and reports whether there is a server to examine.
func (e *examination) reach(ctx context.Context) bool {
	return e.check(ctx, "server", func(ctx context.Context) ([]Finding, error) {
		pool, err := pgxpool.NewWithConfig(ctx, e.Pool)
		if err != nil {
			return nil, err
		}
		var number int
		var version, database string
		if err := pool.QueryRow(ctx, sqlServer).Scan(&number, &version, &database); err != nil {
			pool.Close()
			text, do := split(e.Explain(err))
			return one(fail(do, "%s", text)), nil
		}
		e.pool = pool
		finding := judgeVersion(number, version)
		if finding.Level == OK {
			finding.Text += ", database " + database
		}
		return one(finding), nil
	}) || e.pool != nil
}

// ok returns a finding that all is well.
func ok(format string, args ...any) Finding {
	return Finding{Level: OK, Text: fmt.Sprintf(format, args...)}
}

// warn returns a finding of level Warn with its remedy.
func warn(do, format string, args ...any) Finding {
	return Finding{Level: Warn, Text: fmt.Sprintf(format, args...), Do: do}
}

// fail returns a finding of level Fail with its remedy.
func fail(do, format string, args ...any) Finding {
	return Finding{Level: Fail, Text: fmt.Sprintf(format, args...), Do: do}
}

// one returns f as the only finding of a check.
func one(f Finding) []Finding { return []Finding{f} }

// orOK returns found, or if that is empty a finding that all is well.
func orOK(found []Finding, format string, args ...any) []Finding {
	if len(found) > 0 {
		return found
	}
	return one(ok(format, args...))
}

// split takes a sentence of the form "fault (remedy): more" apart.
func split(sentence string) (text, do string) {
	open := strings.Index(sentence, " (")
	if open < 0 {
		return sentence, ""
	}
	depth := 0
	for i, c := range sentence[open+1:] {
		switch c {
		case '(':
			depth++
		case ')':
			depth--
		}
		if depth == 0 {
			end := open + 1 + i
			return sentence[:open] + sentence[end+1:], sentence[open+2 : end]
		}
	}
	return sentence, ""
}

// cause returns the text of the innermost error that err wraps.
func cause(err error) string {
	for next := err; next != nil; next = errors.Unwrap(next) {
		err = next
	}
	return err.Error()
}

// plain returns the text of err without the prefix of its package.
func plain(err error) string {
	text := err.Error()
	for _, prefix := range []string{"migrations: ", "report: ", "catchup: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return text
}

// age returns seconds as a duration, rounded to a second.
func age(seconds float64) time.Duration {
	return time.Duration(seconds * float64(time.Second)).Round(time.Second)
}
