// Package tenants finds the schemas of a database that hold a log each, by names and patterns.
package tenants

import (
	"context"
	_ "embed" // the statement
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/internal/db"
)

// findTimeout bounds one look at the schemas.
const findTimeout = 10 * time.Second

//go:embed sql/schemas.sql
var schemasSQL string

// ErrPattern means that a list of patterns cannot be read.
var ErrPattern = errors.New("tenants: not a list of schemas (write names or patterns with * and ? and a comma between them, such as 'tenant_*,archive';" +
	` what stands in "double quotes" is a name as it is)`)

// Patterns are names of schemas, and patterns of them. The zero value finds none.
type Patterns struct {
	names []string // which need not exist
	likes []string // patterns of LIKE
}

// Of returns the Patterns of texts, of which each is one name, or a pattern where * stands for any text and ? for one character.
func Of(texts ...string) (Patterns, error) {
	var p Patterns
	for _, text := range texts {
		if err := p.add(text); err != nil {
			return Patterns{}, err
		}
	}
	return p, nil
}

// Parse returns the Patterns of a list with a comma between them. In double quotes a name stands as it is, with "" for a quote.
func Parse(list string) (Patterns, error) {
	var p Patterns
	for rest, more := list, true; more; {
		var err error
		if rest = strings.TrimSpace(rest); strings.HasPrefix(rest, `"`) {
			rest, more, err = p.quoted(rest[1:])
		} else {
			var text string
			text, rest, more = strings.Cut(rest, ",")
			err = p.add(strings.TrimSpace(text))
		}
		if err != nil {
			return Patterns{}, err
		}
	}
	return p, nil
}

// add adds one name or pattern.
func (p *Patterns) add(text string) error {
	switch {
	case text == "" || strings.ContainsAny(text, "\x00\"") || !utf8.ValidString(text):
		return fmt.Errorf("%w: %q", ErrPattern, text)
	case strings.ContainsAny(text, "*?"):
		p.likes = append(p.likes, strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`, "*", "%", "?", "_").Replace(text))
	default:
		p.names = append(p.names, text)
	}
	return nil
}

// quoted adds the name at the beginning of text, behind its first quote, and returns what comes behind its comma.
func (p *Patterns) quoted(text string) (rest string, more bool, err error) {
	var name strings.Builder
	for {
		part, behind, closed := strings.Cut(text, `"`)
		if !closed {
			return "", false, fmt.Errorf("%w: a quote is not closed", ErrPattern)
		}
		name.WriteString(part)
		if !strings.HasPrefix(behind, `"`) {
			rest = strings.TrimSpace(behind)
			break
		}
		name.WriteByte('"')
		text = behind[1:]
	}
	if n := name.String(); n == "" || strings.Contains(n, "\x00") || !utf8.ValidString(n) {
		return "", false, fmt.Errorf("%w: %q", ErrPattern, n)
	}
	if rest != "" && !strings.HasPrefix(rest, ",") {
		return "", false, fmt.Errorf("%w: there is no comma before %q", ErrPattern, rest)
	}
	p.names = append(p.names, name.String())
	rest, more = strings.CutPrefix(rest, ",")
	return rest, more, nil
}

// Find returns the schemas that p means, by name: those that are named, whether they exist or not, and those that match a pattern.
func (p Patterns) Find(ctx context.Context, s db.Sender) ([]string, error) {
	found := slices.Clone(p.names)
	if len(p.likes) > 0 {
		ctx, cancel := context.WithTimeout(ctx, findTimeout)
		defer cancel()
		err := db.Query(ctx, s, func(rows pgx.Rows) error {
			matching, err := pgx.CollectRows(rows, pgx.RowTo[string])
			found = append(found, matching...)
			return err
		}, schemasSQL, p.likes)
		if err != nil {
			return nil, fmt.Errorf("tenants: look for the schemas: %w", err)
		}
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}
