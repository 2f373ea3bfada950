package apply

import (
	"database/sql/driver"
	"reflect"
	"strings"

	"github.com/jackc/pgx/v5"
)

// What one projection does to its session or its transaction must not meet the statements of another. So only statements go together that
// read and write rows; what sets something, begins, ends, locks or listens goes by itself, and so does what names something that is not
// a statement. A function that a statement calls is not looked into: the save finds the role, the search_path and the temporary tables
// that it has left.

// mustGoAlone reports whether a statement may not be sent in one transaction with those of other projections.
func mustGoAlone(q *pgx.QueuedQuery) bool {
	return q.Fn != nil || // the handler reads its result, and may refuse it
		rewritten(q.Arguments) || !isPlain(q.SQL)
}

// rewritten reports whether arguments may turn their statement into another one.
func rewritten(arguments []any) bool {
	if len(arguments) == 0 {
		return false
	}
	switch arguments[0].(type) {
	case pgx.NamedArgs, pgx.StrictNamedArgs:
		return false
	case pgx.QueryRewriter:
		return true
	}
	return false
}

// ask asks the arguments of statements for their values, as pgx does once they are sent. What comes of it does not count: one that hangs
// or panics does so in the time of its own handler, as it would alone, and not in the hands of who sends the statements of all.
func ask(queued []*pgx.QueuedQuery) {
	for _, q := range queued {
		for _, argument := range q.Arguments {
			if v, is := argument.(driver.Valuer); is && !isNil(v) {
				_, _ = v.Value()
			}
		}
	}
}

// isNil reports whether v is a nil pointer, or another nil, which pgx sends as null without asking it.
func isNil(v driver.Valuer) bool {
	switch of := reflect.ValueOf(v); of.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Chan, reflect.Func:
		return of.IsNil()
	}
	return false
}

// isPlain reports whether a statement reads and writes rows, and sets nothing.
func isPlain(sql string) bool {
	text := beginning(sql)
	end := strings.IndexFunc(text, func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') })
	if end < 0 || !strings.ContainsRune(" \t\r\n\f(*\"'/@$", rune(text[end])) { // or it is the name of a prepared statement
		return false
	}
	switch strings.ToLower(text[:end]) {
	case "insert", "update", "delete", "merge", "with", "select":
		lower := strings.ToLower(text)
		return !strings.Contains(lower, "set_config") && !strings.Contains(lower, "pg_settings") // which can be updated
	}
	return false
}

// beginning returns a statement without the space and the comments that it begins with, "" where that is not clear.
func beginning(sql string) string {
	for {
		sql = strings.TrimLeft(sql, " \t\r\n\f")
		switch {
		case strings.HasPrefix(sql, "--"):
			_, sql, _ = strings.Cut(sql, "\n")
		case strings.HasPrefix(sql, "/*"):
			comment, rest, ends := strings.Cut(sql[2:], "*/")
			if !ends || strings.Contains(comment, "/*") { // one inside another
				return ""
			}
			sql = rest
		default:
			return sql
		}
	}
}
