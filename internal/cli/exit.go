package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/console"
	"github.com/rouse-es/rouse/internal/database"
	statements "github.com/rouse-es/rouse/internal/db"
	"github.com/rouse-es/rouse/internal/demo"
	"github.com/rouse-es/rouse/internal/script"
	"github.com/rouse-es/rouse/internal/signal"
	"github.com/rouse-es/rouse/migrations"
	"github.com/rouse-es/rouse/parked"
	"github.com/rouse-es/rouse/partition"
	"github.com/rouse-es/rouse/retention"
)

// The exit codes. They are a promise to scripts; exitCodeHelp says what each means. None is 2: with that, Go ends a program that has
// crashed, and supervisors must tell it from one that is wrongly set up.
const (
	exitOK       = 0
	exitOther    = 1
	exitDatabase = 3
	exitSchema   = 4
	exitStopped  = 5
	exitVerdict  = 6
	exitFindings = 7
	exitLate     = 8
	exitUsage    = 64 // EX_USAGE of sysexits.h
	exitSignal   = signal.ExitCode
)

func exitCodeHelp() string {
	var b strings.Builder
	for _, line := range []struct {
		code int
		text string
	}{
		{exitOK, "done, or stopped in order by SIGINT, SIGTERM or SIGHUP"},
		{exitOther, "something else went wrong"},
		{exitDatabase, "the database cannot be reached, does not exist or refuses the login"},
		{exitSchema, "the schema is missing, older or newer, or the database cannot be the source"},
		{exitStopped, "a projection was stopped by an event that it cannot handle, a parked event failed again, or what is waited for is parked, paused or stopped"},
		{exitVerdict, "the verdict is negative: events were lost, doubled or out of order, or nobody took over"},
		{exitFindings, "the doctor has found something that fails"},
		{exitLate, "what was waited for did not come in time"},
		{exitUsage, "the command line or a variable is not usable"},
		{exitSignal, "a second signal ended the program at once"},
	} {
		fmt.Fprintf(&b, "  %3d  %s\n", line.code, line.text)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// usageError marks a fault of whoever typed the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// errFindings means that the doctor has found something that fails.
var errFindings = errors.New("what fails has to be mended (see what is said to do)")

// errFailedAgain means that parked events were handled again and failed again.
var errFailedAgain = errors.New("parked events failed again (see rouse parked list for the errors)")

// errIncomplete means that a signal came before the work was done.
var errIncomplete = errors.New("stopped by a signal before the work was done")

// explain turns an error into an exit code and one sentence that says what to do. The sentence never holds a password or a
// connection string.
func explain(db *database.Database, err error) (code int, sentence string) {
	var stopped *rouse.StoppedError
	var usage usageError
	var child *demo.ChildError
	var blocked *migrations.BlockedError
	var schemas *schemasError
	var own *script.Error
	switch {
	case errors.As(err, &schemas):
		return schemas.code, schemas.Error()
	case errors.As(err, &usage):
		return exitUsage, plain(err)
	case errors.As(err, &stopped) && stopped.Position != 0:
		return exitStopped, plain(stopped)
	case errors.As(err, &blocked), errors.As(err, &own) && (errors.Is(err, context.DeadlineExceeded) || !isGone(db, err)):
		return exitOther, plain(err)
	case errors.Is(err, errFailedAgain):
		return exitStopped, plain(err)
	case errors.Is(err, errLate):
		return exitLate, plain(err)
	case is(err, rouse.ErrParked, rouse.ErrPaused, rouse.ErrStopped):
		return exitStopped, plain(err)
	case errors.Is(err, errFindings):
		return exitFindings, plain(err)
	case errors.As(err, &child):
		return child.Code, oneLine(child.Sentence)
	case is(err, demo.ErrVerdict, demo.ErrStep):
		return exitVerdict, plain(err)
	case is(err, rouse.ErrConfig, rouse.ErrNoStart, rouse.ErrStart, partition.ErrMismatch, partition.ErrElsewhere, partition.ErrCount,
		partition.ErrWorkerID, parked.ErrFilter, script.ErrFiles, retention.ErrIgnored, retention.ErrPayload, retention.ErrNoStream):
		return exitUsage, plain(err)
	case is(err, migrations.ErrMissing, migrations.ErrOlder, migrations.ErrNewer, migrations.ErrEncoding, migrations.ErrNoSchema, migrations.ErrIncomplete,
		script.ErrMissing, script.ErrChanged, catchup.ErrSource, catchup.ErrSequence, catchup.ErrUnguarded, catchup.ErrEngine, catchup.ErrLogBehind, catchup.ErrArchived, eventstore.ErrNotMigrated):
		return exitSchema, plain(err)
	}
	if is(err, database.ErrAddress, database.ErrAddressFile, statements.ErrNoSync) {
		return exitDatabase, plain(err)
	}
	if code, sentence, is := explainOwn(db, err); is {
		return code, sentence
	}
	if sentence, is := db.Unreachable(err); is {
		return exitDatabase, oneLine(sentence)
	}
	code, sentence = explainRefusal(db, err)
	return code, oneLine(sentence)
}

// isGone reports whether an error says that the database cannot be reached, or not any more.
func isGone(db *database.Database, err error) bool {
	_, gone := db.Unreachable(err)
	return gone
}

// explainRefusal explains what the server said to a statement.
func explainRefusal(db *database.Database, err error) (code int, sentence string) {
	readOnly := fmt.Sprintf("the database at %s is read-only (connect to the primary, not to a standby, or set default_transaction_read_only to off)", db.Where())
	if errors.Is(err, statements.ErrStandby) {
		return exitSchema, readOnly
	}
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return exitOther, plain(err)
	}
	switch pgErr.Code {
	case "25006": // read_only_sql_transaction
		return exitSchema, readOnly
	case "42P05", "26000": // duplicate_prepared_statement, invalid_sql_statement_name
		return exitDatabase, fmt.Sprintf("the pooler at %s mixes up prepared statements: %s (add default_query_exec_mode=exec to the address, or set max_prepared_statements in PgBouncer 1.21 or later)",
			db.Where(), pgErr.Message)
	case "42P01", "42703", "42883": // undefined_table, undefined_column, undefined_function
		return exitSchema, fmt.Sprintf("the schema is not complete: %s (put it back as rouse migrate --print has it, or from a backup)", pgErr.Message)
	case "42501": // insufficient_privilege
		return exitOther, fmt.Sprintf("the role may not do this: %s (grant it, or use another role)", pgErr.Message)
	}
	return exitOther, plain(err)
}

// plain is the message of an error on one line, without the prefixes of the packages that it comes from.
func plain(err error) string {
	text := oneLine(err.Error())
	for _, prefix := range []string{"rouse: ", "migrations: ", "projection: ", "partition: ", "catchup: ", "eventstore: ", "scaling: ", "demo: ", "report: ", "pgserver: ", "bench: ", "parked: ", "tenants: ", "retention: "} {
		text = strings.ReplaceAll(strings.TrimPrefix(text, prefix), ": "+prefix, ": ")
	}
	return text
}

// oneLine is a text on one line, as a terminal may have it. What the server says may have several, and so may what was typed, and
// both may quote what another user has chosen.
func oneLine(text string) string {
	return console.Printable(strings.NewReplacer("\n", "; ", "\t", " ").Replace(text))
}

func is(err error, targets ...error) bool {
	for _, target := range targets {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}
