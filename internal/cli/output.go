package cli

import "github.com/rouse-es/rouse/internal/console"

// printJSON prints one value as an indented document.
func (e *env) printJSON(v any) error {
	if e.schema != "" {
		v = ofSchema{Schema: e.schema, Result: v}
	}
	return console.JSON(e.out, v, "  ")
}

// ofSchema is what is printed for each of --schemas.
type ofSchema struct {
	Schema string `json:"schema"`
	Result any    `json:"result"`
}

// say prints one line of data for people. What the arguments hold stays on the line and steers no terminal.
func (e *env) say(format string, args ...any) error {
	return console.Printf(e.out, e.speak(format)+"\n", args...)
}
