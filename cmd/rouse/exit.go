package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/catchup"
	"github.com/rouse-es/rouse/eventstore"
	"github.com/rouse-es/rouse/internal/signal"
	"github.com/rouse-es/rouse/migrations"
	"github.com/rouse-es/rouse/parked"
	"github.com/rouse-es/rouse/partition"
)

// The exit codes. They are a promise to scripts; exitCodeHelp says what each means.
const (
	exitOK       = 0
	exitOther    = 1
	exitUsage    = 2
	exitDatabase = 3
	exitSchema   = 4
	exitStopped  = 5
	exitVerdict  = 6
	exitFindings = 7
	exitSignal   = signal.ExitCode
)

func exitCodeHelp() string {
	var b strings.Builder
	for _, line := range []struct {
		code int
		text string
	}{
		{exitOK, "done, or stopped in order by SIGINT or SIGTERM"},
		{exitOther, "something else went wrong"},
		{exitUsage, "the command line or a variable is not usable"},
		{exitDatabase, "the database cannot be reached, does not exist or refuses the login"},
		{exitSchema, "the schema is missing, older or newer, or the database cannot be the source"},
		{exitStopped, "a projection was stopped by an event that it cannot handle, or a parked event failed again"},
		{exitVerdict, "the verdict is negative: events were lost, doubled or out of order, or nobody took over"},
		{exitFindings, "the doctor has found something that fails"},
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

// errVerdict means that the read model does not agree with the log.
var errVerdict = errors.New("the read model does not agree with the log: events were lost, doubled or out of order (see the verdict)")

// errFindings means that the doctor has found something that fails.
var errFindings = errors.New("what fails has to be mended (see what is said to do)")

// errFailedAgain means that parked events were handled again and failed again.
var errFailedAgain = errors.New("parked events failed again (see rouse parked list for the errors)")

// errStage means that a stage of the demo did not come to what it should.
var errStage = errors.New("workers did not join or take over in time (see the verdict; is the machine busy?)")

// errIncomplete means that a signal came before the work was done.
var errIncomplete = errors.New("stopped by a signal before the work was done")

// explain turns an error into an exit code and one sentence that says what to do. The sentence never holds a password or a
// connection string.
func (a *app) explain(err error) (code int, sentence string) {
	var stopped *rouse.StoppedError
	var usage usageError
	var child *childError
	switch {
	case errors.As(err, &usage):
		return exitUsage, plain(err)
	case errors.As(err, &stopped) && stopped.Position != 0:
		return exitStopped, plain(stopped)
	case errors.Is(err, errFailedAgain):
		return exitStopped, plain(err)
	case errors.Is(err, errFindings):
		return exitFindings, plain(err)
	case errors.As(err, &child):
		return child.code, child.sentence
	case is(err, errVerdict, errStage):
		return exitVerdict, plain(err)
	case is(err, rouse.ErrConfig, partition.ErrMismatch, partition.ErrCount, partition.ErrWorkerID, parked.ErrFilter):
		return exitUsage, plain(err)
	case is(err, migrations.ErrMissing, migrations.ErrOlder, migrations.ErrNewer, migrations.ErrEncoding, migrations.ErrNoSchema, migrations.ErrIncomplete,
		catchup.ErrSource, catchup.ErrSequence, catchup.ErrUnguarded, catchup.ErrLogBehind, eventstore.ErrNotMigrated):
		return exitSchema, plain(err)
	}
	if sentence, is := a.unreachable(err); is {
		return exitDatabase, oneLine(sentence)
	}
	code, sentence = a.refused(err)
	return code, oneLine(sentence)
}

// unreachable explains what keeps a connection from being made, or ended it.
func (a *app) unreachable(err error) (sentence string, unreachable bool) {
	where := a.where()
	var connect *pgconn.ConnectError
	var pgErr *pgconn.PgError
	if sentence, refused := tlsRefused(where, err); refused {
		return sentence, true
	}
	switch isConnect := errors.As(err, &connect); {
	case is(err, errAddress, errAddressFile):
		return plain(err), true
	case errors.As(err, &pgErr) && (isConnect || isOutage(pgErr.Code)):
		return loginRefused(where, pgErr), true
	case isConnect:
		return fmt.Sprintf("cannot reach PostgreSQL at %s: %s (is it running? set DATABASE_URL or --database-url to where it is)",
			where, rootCause(err)), true
	case isNetwork(err):
		return fmt.Sprintf("lost the connection to PostgreSQL at %s: %s (run the command again when it is back)", where, rootCause(err)), true
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("PostgreSQL at %s did not answer in time (is it overloaded, or is a lock held?)", where), true
	}
	return "", false
}

// refused explains what the server said to a statement.
func (a *app) refused(err error) (code int, sentence string) {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return exitOther, plain(err)
	}
	switch pgErr.Code {
	case "25006": // read_only_sql_transaction
		return exitSchema, fmt.Sprintf("the database at %s is read-only (connect to the primary, not to a standby)", a.where())
	case "42501": // insufficient_privilege
		return exitOther, fmt.Sprintf("the role may not do this: %s (grant it, or use another role)", pgErr.Message)
	}
	return exitOther, plain(err)
}

// plain is the message of an error on one line, without the prefix of the package that it comes from.
func plain(err error) string {
	text := oneLine(err.Error())
	for _, prefix := range []string{"rouse: ", "migrations: ", "partition: ", "catchup: ", "eventstore: ", "scaling: ", "demo: ", "report: ", "pgserver: ", "bench: ", "parked: "} {
		if rest, has := strings.CutPrefix(text, prefix); has {
			return rest
		}
	}
	return text
}

// oneLine is a text on one line. What the server says may have several, and so may what was typed as its address.
func oneLine(text string) string { return strings.ReplaceAll(text, "\n", "; ") }

func is(err error, targets ...error) bool {
	for _, target := range targets {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}
