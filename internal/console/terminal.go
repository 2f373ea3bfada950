package console

import (
	"io"
	"os"
)

// IsTerminal reports whether a person may be watching.
func IsTerminal(w io.Writer) bool {
	file, is := w.(*os.File)
	if !is {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// Colourful reports whether colours are welcome; see https://no-color.org.
func Colourful() bool { return os.Getenv("NO_COLOR") == "" }
