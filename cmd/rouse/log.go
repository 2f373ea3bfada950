package main

import (
	"io"
	"os"
	"runtime"
	"time"

	"github.com/rs/zerolog"
)

// The values of --log-format.
const (
	formatAuto   = "auto"
	formatPretty = "pretty"
	formatJSON   = "json"
)

// newLogger makes the logger of the process. Durations are in milliseconds, and every key that holds one says so.
func newLogger(w io.Writer, level, format string) (zerolog.Logger, error) {
	levels := map[string]zerolog.Level{
		"debug": zerolog.DebugLevel, "info": zerolog.InfoLevel, "warn": zerolog.WarnLevel, "error": zerolog.ErrorLevel, "off": zerolog.Disabled,
	}
	parsed, known := levels[level]
	if !known {
		return zerolog.Nop(), usagef("the log level %q is none of debug, info, warn, error, off", level)
	}
	zerolog.DurationFieldUnit = time.Millisecond
	zerolog.TimeFieldFormat = time.RFC3339Nano
	switch format {
	case formatAuto:
		if isTerminal(w) {
			w = pretty(w)
		}
	case formatPretty:
		w = pretty(w)
	case formatJSON:
	default:
		return zerolog.Nop(), usagef("the log format %q is none of auto, pretty, json", format)
	}
	return zerolog.New(w).Level(parsed).With().Timestamp().Logger(), nil
}

func pretty(w io.Writer) io.Writer {
	plain := !isTerminal(w) || os.Getenv("NO_COLOR") != "" || runtime.GOOS == "windows"
	return zerolog.ConsoleWriter{Out: w, NoColor: plain, TimeFormat: "15:04:05.000"}
}

// isTerminal tells whether somebody may be watching.
func isTerminal(w io.Writer) bool {
	file, is := w.(*os.File)
	if !is {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
