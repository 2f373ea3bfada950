package main

import (
	"io"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
)

const marker = "s3cr3t"

// No password is in a message about the address that holds it, in whatever way it is written there.
func FuzzAddress(f *testing.F) {
	for _, seed := range []struct{ before, after, host string }{
		{"", "", "127.0.0.1"}, {"a@b", "", "h"}, {"%zz", "", "h"}, {"", "/x", "h"}, {"", "?sslmode=x", "h"}, {"'", `\`, "h:x"},
		{" ", "'", "[::1"}, {"#", "\n", "/tmp"}, {"", "@h:99999", "h,i,j"}, {"ü", "\x00", ""}, {"", "", "\n"},
	} {
		f.Add(seed.before, seed.after, seed.host)
	}
	f.Fuzz(func(t *testing.T, before, after, host string) {
		if strings.Contains(host, marker) {
			return
		}
		password := before + marker + after
		quoted := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(password)
		for _, address := range []string{
			"postgres://u:" + url.QueryEscape(password) + "@" + host + "/d",
			"host=" + host + " user=u password='" + quoted + "'",
			"postgres://u:" + password + "@" + host + "/d",
			"host=" + host + " user=u password=" + password,
		} {
			a := &app{databaseURL: address, out: io.Discard, err: io.Discard, log: zerolog.Nop()}
			cfg, err := a.poolConfig("rouse")
			if err != nil {
				requireSecret(t, a, err)
				require.Equal(t, "the address given", a.where())
			} else if cfg.ConnConfig.Password == password {
				require.NotContains(t, a.where(), marker)
				requireSecret(t, a, &pgconn.PgError{Code: "57P03", Message: "the database system is starting up"})
			}
			if _, err := a.listenConfig(address, "rouse"); err != nil {
				requireSecret(t, a, err)
			}
		}
	})
}

// requireSecret: what people are told of an error is one line and holds no password.
func requireSecret(t *testing.T, a *app, err error) {
	t.Helper()
	_, sentence := a.explain(err)
	require.NotEmpty(t, sentence)
	require.NotContains(t, sentence, marker)
	require.NotContains(t, sentence, "\n")
}

// Variables of a worker are either understood, and then make a configuration that holds together, or refused in one sentence.
func FuzzWorkerVariables(f *testing.F) {
	f.Add("0", "4", "1s", "park", "6", "32")
	f.Add("web-3", "4", "-1s", "stop", "0", "0")
	f.Add("web-4", "4", "5", "Park", "-1", "33")
	f.Add("", "four", "1h1", "skip", "1e3", "+1")
	f.Add("\n", "0x10", "1µs", "", "9223372036854775808", " 1")
	f.Add("a", "", "99999999h", "park ", "", "-")
	f.Fuzz(func(t *testing.T, id, total, timeout, onFailure, retries, partitions string) {
		variables := map[string]string{
			"WORKER_ID": id, "TOTAL_WORKERS": total, "ROUSE_HANDLER_TIMEOUT": timeout, "ROUSE_ON_FAILURE": onFailure,
			"ROUSE_RETRIES": retries, "ROUSE_PARTITIONS": partitions,
		}
		for name, value := range variables {
			if strings.Contains(value, "\x00") {
				return // no variable can hold it
			}
			t.Setenv(name, value)
		}
		a := &app{out: io.Discard, err: io.Discard, log: zerolog.Nop()}
		flags := a.workerCommand().Flags()
		if err := readEnv(flags); err != nil {
			_, sentence := a.explain(usageError{err})
			require.NotContains(t, sentence, "\n")
			require.Regexp(t, "^the variable (TOTAL_WORKERS|ROUSE_[A-Z_]+)=", sentence)
			return
		}
		var w workerFlags
		w.projection, w.id, w.onFailure = flags.Lookup("projection").Value.String(), id, flags.Lookup("on-failure").Value.String()
		var err error
		w.total, err = flags.GetInt("total-workers")
		require.NoError(t, err)
		w.retries, err = flags.GetInt("retries")
		require.NoError(t, err)
		cfg, err := a.config(w)
		if err != nil {
			code, sentence := a.explain(err)
			require.Equal(t, exitUsage, code)
			require.NotEmpty(t, sentence)
			require.NotContains(t, sentence, "\n")
			return
		}
		require.Contains(t, []rouse.OnFailure{rouse.Park, rouse.Stop, rouse.Skip}, cfg.OnFailure)
		require.NotZero(t, cfg.Retries)
		require.NotEmpty(t, cfg.Label)
		require.True(t, cfg.TotalWorkers == 0 && cfg.WorkerIndex == 0 || cfg.WorkerIndex >= 0 && cfg.WorkerIndex < cfg.TotalWorkers)
	})
}

// The position of a reset and the choice of parked events are what was typed, or a fault of usage.
func FuzzChoices(f *testing.F) {
	for _, seed := range []string{"0", "end", "-1", "17", "9223372036854775808", "order/4711", "/", "a/", "/b", "a/b/c", "", "+1", "1_0"} {
		f.Add(seed, int64(0))
	}
	f.Add("a/b", int64(-1))
	f.Fuzz(func(t *testing.T, text string, position int64) {
		at, err := parsePosition(text)
		var usage usageError
		switch {
		case err != nil:
			require.ErrorAs(t, err, &usage)
		case text == "end":
			require.EqualValues(t, -1, at)
		default:
			n, err := strconv.ParseInt(text, 10, 64)
			require.NoError(t, err)
			require.Equal(t, n, at)
			require.GreaterOrEqual(t, at, int64(0))
		}
		filter, err := (&parkedFlags{aggregate: text, position: position}).filter()
		switch {
		case err != nil:
			require.ErrorAs(t, err, &usage)
		case text != "":
			require.Equal(t, text, filter.Aggregate.Type+"/"+filter.Aggregate.ID)
			require.NotEmpty(t, filter.Aggregate.Type)
			require.NotEmpty(t, filter.Aggregate.ID)
			require.Equal(t, position, filter.Position)
		}
	})
}

// A text that is shortened stays a text, and numbers with commas are the same numbers.
func FuzzPrinting(f *testing.F) {
	f.Add("ü€😀", 3, int64(-9223372036854775808))
	f.Add("\x80\x80\x80", 1, int64(-1000))
	f.Add("", 0, int64(999))
	f.Fuzz(func(t *testing.T, text string, n int, number int64) {
		n &= 1<<10 - 1
		short := clip(text, n)
		require.LessOrEqual(t, len(short), n)
		require.True(t, strings.HasPrefix(text, short))
		require.True(t, !utf8.ValidString(text) || utf8.ValidString(short))
		require.Greater(t, len(short), min(n, len(text))-utf8.UTFMax-len(text)*btoi(!utf8.ValidString(text)))

		parsed, err := strconv.ParseInt(strings.ReplaceAll(grouped(number), ",", ""), 10, 64)
		require.NoError(t, err)
		require.Equal(t, number, parsed)
		require.Regexp(t, `^-?[0-9]{1,3}(,[0-9]{3})*$`, grouped(number))
	})
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
