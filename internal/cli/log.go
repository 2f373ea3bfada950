package cli

import (
	"io"
	"os"
	"runtime"
	"time"

	"github.com/rs/zerolog"

	"github.com/rouse-es/rouse/internal/console"
)

// The values of --log-format.
const (
	formatAuto   = "auto"
	formatPretty = "pretty"
	formatJSON   = "json"
)

// newLogger makes the logger of the process, and the buffer through which it writes, which the caller closes. Durations are in
// milliseconds, and every key that holds one says so. Lines go through what around makes of their writer.
func newLogger(w io.Writer, level, format string, around func(io.Writer) io.Writer) (zerolog.Logger, *logBuffer, error) {
	levels := map[string]zerolog.Level{
		"debug": zerolog.DebugLevel, "info": zerolog.InfoLevel, "warn": zerolog.WarnLevel, "error": zerolog.ErrorLevel, "off": zerolog.Disabled,
	}
	parsed, known := levels[level]
	if !known {
		return zerolog.Nop(), nil, usagef("the log level %q is none of debug, info, warn, error, off", level)
	}
	zerolog.DurationFieldUnit = time.Millisecond
	zerolog.TimeFieldFormat = time.RFC3339Nano
	switch format {
	case formatAuto:
		if console.IsTerminal(w) {
			w = pretty(w)
		} else {
			w = console.JSONWriter(w)
		}
	case formatPretty:
		w = pretty(w)
	case formatJSON:
		w = console.JSONWriter(w)
	default:
		return zerolog.Nop(), nil, usagef("the log format %q is none of auto, pretty, json", format)
	}
	buffer := newLogBuffer(around(w))
	return zerolog.New(buffer).Level(parsed).With().Timestamp().Logger(), buffer, nil
}

func pretty(w io.Writer) io.Writer {
	plain := !console.IsTerminal(w) || os.Getenv("NO_COLOR") != "" || runtime.GOOS == "windows"
	return zerolog.ConsoleWriter{Out: w, NoColor: plain, TimeFormat: "15:04:05.000"}
}
