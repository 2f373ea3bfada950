package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// ShownText is how much of one text a line shows, in bytes. Nothing bounds the type of an event that is older than the bounds.
const ShownText = 300

// Printable returns text that is not the program's own as a terminal may have it, on one line. What would steer a terminal, turn
// the direction of what follows or begin another line is written as in a string of Go: control characters (C1 too), marks of
// direction, characters that show nothing, and bytes that are no UTF-8.
func Printable(text string) string {
	if utf8.ValidString(text) && strings.IndexFunc(text, harmful) < 0 {
		return text
	}
	var b strings.Builder
	for rest := text; rest != ""; {
		r, size := utf8.DecodeRuneInString(rest)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, rest[0])
		case harmful(r):
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		default:
			b.WriteRune(r)
		}
		rest = rest[size:]
	}
	return b.String()
}

// harmful reports whether a character has no business in a line of text.
func harmful(r rune) bool { return r != ' ' && !unicode.IsPrint(r) }

// Short is Printable for at most ShownText bytes of a text.
func Short(text string) string {
	if len(text) > ShownText {
		text = Clip(text, ShownText-3) + "..."
	}
	return Printable(text)
}

// Printf prints as fmt.Fprintf does, with everything that is a text made Printable. The format is the program's own.
func Printf(w io.Writer, format string, args ...any) error {
	clean := make([]any, len(args))
	for i, arg := range args {
		clean[i] = printable(arg)
	}
	_, err := fmt.Fprintf(w, format, clean...)
	return err
}

func printable(arg any) any {
	switch v := arg.(type) {
	case nil:
		return arg
	case error:
		return Printable(v.Error())
	case fmt.Stringer:
		return Printable(v.String())
	case []byte:
		return Printable(string(v))
	}
	switch v := reflect.ValueOf(arg); v.Kind() {
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Float32, reflect.Float64:
		return arg
	case reflect.String:
		return Printable(v.String())
	default:
		return Printable(fmt.Sprint(arg))
	}
}

// Row prints the cells of one row of a table (text/tabwriter), made Printable.
func Row(w io.Writer, cells ...string) error {
	clean := make([]string, len(cells))
	for i, cell := range cells {
		clean[i] = Printable(cell)
	}
	_, err := io.WriteString(w, strings.Join(clean, "\t")+"\n")
	return err
}

// JSON prints one value and a line break, indented if indent is not empty. In its strings, what Printable would not leave is written
// as \uXXXX: the value is the same, and harmless on a terminal.
func JSON(w io.Writer, v any, indent string) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := JSONWriter(w).Write(b.Bytes())
	return err
}

// JSONWriter passes whole documents of JSON on, with their strings as JSON writes them.
func JSONWriter(w io.Writer) io.Writer { return jsonWriter{w} }

type jsonWriter struct{ w io.Writer }

// Write returns the length of p where it succeeds, as io.Writer asks for.
func (j jsonWriter) Write(p []byte) (int, error) {
	if _, err := j.w.Write(escaped(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// escaped writes harmful characters of a document as \uXXXX. Outside of strings it has none but line breaks, which stay: inside,
// JSON does not allow them.
func escaped(document []byte) []byte {
	is := func(r rune) bool { return r != '\n' && harmful(r) }
	if utf8.Valid(document) && bytes.IndexFunc(document, is) < 0 {
		return document
	}
	var out []byte
	for rest := document; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		switch {
		case r == utf8.RuneError && size == 1:
			out = append(out, `\ufffd`...)
		case !is(r):
			out = append(out, rest[:size]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		rest = rest[size:]
	}
	return out
}
