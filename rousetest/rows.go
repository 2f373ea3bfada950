package rousetest

import (
	"context"
	"database/sql/driver"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Row is what a row of a read model is to be, a value for each column. Any integer stands for any integer, and a number for a
// numeric of its value; text for what PostgreSQL writes so (a numeric, a uuid); a json.RawMessage for the same JSON; nil for null.
type Row []any

// query returns the rows of a statement, as texts for people and for comparison.
func query(ctx context.Context, tx interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}, sql string) ([]Row, error) {
	rows, err := tx.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (Row, error) {
		values, err := row.Values()
		return values, err
	})
}

// difference returns how rows differ from those that were wanted, "" if they do not.
func difference(want, got []Row) string {
	same := len(want) == len(got)
	for i := 0; same && i < len(want); i++ {
		same = len(want[i]) == len(got[i])
		for j := 0; same && j < len(want[i]); j++ {
			same = equal(want[i][j], got[i][j])
		}
	}
	if same {
		return ""
	}
	return "want:\n" + table(want) + "got:\n" + table(got)
}

// table is a line for each row.
func table(rows []Row) string {
	if len(rows) == 0 {
		return "  (no rows)\n"
	}
	var b strings.Builder
	for _, row := range rows {
		texts := make([]string, len(row))
		for i, v := range row {
			texts[i] = text(v)
		}
		b.WriteString("  " + strings.Join(texts, " | ") + "\n")
	}
	return b.String()
}

// equal reports whether a value of the database is the one that was wanted.
func equal(want, got any) bool {
	if w, is := want.(time.Time); is {
		g, is := got.(time.Time)
		return is && w.Truncate(time.Microsecond).Equal(g)
	}
	if want == nil || got == nil {
		return want == nil && got == nil
	}
	if w, is := want.(json.RawMessage); is {
		return canonical(w) == text(got)
	}
	w, g := text(want), text(got)
	return w == g || isNumber(want) && sameNumber(w, g)
}

func isNumber(v any) bool {
	switch reflect.ValueOf(v).Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32,
		reflect.Uint64, reflect.Float32, reflect.Float64:
		return true
	}
	return false
}

func sameNumber(a, b string) bool {
	x, is := new(big.Rat).SetString(a)
	y, also := new(big.Rat).SetString(b)
	return is && also && x.Cmp(y) == 0
}

// text is a value as people write it.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		return v
	case []byte:
		return `\x` + hex.EncodeToString(v)
	case [16]byte:
		h := hex.EncodeToString(v[:])
		return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	case json.RawMessage:
		return canonical(v)
	case fmt.Stringer:
		return v.String()
	case driver.Valuer: // pgtype.Numeric and the like
		if value, err := v.Value(); err == nil {
			return text(value)
		}
	}
	switch reflect.ValueOf(v).Kind() {
	case reflect.Map, reflect.Slice, reflect.Array:
		if encoded, err := json.Marshal(v); err == nil {
			return canonical(encoded)
		}
	}
	return fmt.Sprint(v)
}

// canonical is JSON without blanks, and with its keys in order.
func canonical(raw []byte) string {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return string(raw)
	}
	encoded, err := json.Marshal(v)
	if err != nil {
		return string(raw)
	}
	return string(encoded)
}
