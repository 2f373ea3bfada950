package cli

import (
	"io"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse"
	"github.com/rouse-es/rouse/internal/database"
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
			db := &database.Database{URL: address}
			cfg, err := db.PoolConfig("rouse")
			if err != nil {
				requireSecret(t, db, err)
				require.Equal(t, "the address given", db.Where())
			} else if cfg.ConnConfig.Password == password {
				require.NotContains(t, db.Where(), marker)
				requireSecret(t, db, &pgconn.PgError{Code: "57P03", Message: "the database system is starting up"})
			}
			if _, err := listenConfig(db, address, "rouse"); err != nil {
				requireSecret(t, db, err)
			}
		}
	})
}

// requireSecret: what people are told of an error is one line and holds no password.
func requireSecret(t *testing.T, db *database.Database, err error) {
	t.Helper()
	_, sentence := explain(db, err)
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
		e := newEnv(ofTest(), io.Discard, io.Discard)
		flags := workerVerb(e).Flags()
		if err := readEnv(flags); err != nil {
			_, sentence := explain(&e.db, usageError{err})
			require.NotContains(t, sentence, "\n")
			require.Regexp(t, "^the variable (TOTAL_WORKERS|ROUSE_[A-Z_]+)=", sentence)
			return
		}
		var w workerFlags
		w.id, w.onFailure = id, flags.Lookup("on-failure").Value.String()
		var err error
		w.total, err = flags.GetInt("total-workers")
		require.NoError(t, err)
		w.retries, err = flags.GetInt("retries")
		require.NoError(t, err)
		cfg, err := workerConfig(e, w)
		if err != nil {
			code, sentence := explain(&e.db, err)
			require.Equal(t, exitUsage, code)
			require.NotEmpty(t, sentence)
			require.NotContains(t, sentence, "\n")
			return
		}
		require.Contains(t, []rouse.OnFailure{rouse.Park, rouse.Stop, rouse.Skip}, cfg.OnFailure)
		require.Equal(t, w.retries < 0, cfg.Retry.Tries == 0)
		require.GreaterOrEqual(t, cfg.Retry.Tries, 0)
		require.NotEmpty(t, cfg.Label)
		require.True(t, cfg.TotalWorkers == 0 && cfg.WorkerIndex == 0 || cfg.WorkerIndex >= 0 && cfg.WorkerIndex < cfg.TotalWorkers)
	})
}

// The position of a reset and the choice of parked events are what was typed, or a fault of usage.
func FuzzChoices(f *testing.F) {
	for _, seed := range []string{"0", "end", "now", "beginning", "2026-02-28", "2026-02-28T12:00:00.5+01:00", "-1", "17", "9223372036854775808", "order/4711", "/", "a/", "/b", "a/b/c", "", "+1", "1_0"} {
		f.Add(seed, int64(0))
	}
	f.Add("a/b", int64(-1))
	f.Fuzz(func(t *testing.T, text string, position int64) {
		to, err := parseReset(text)
		var usage usageError
		n, notNumber := strconv.ParseInt(text, 10, 64)
		switch {
		case err != nil:
			require.ErrorAs(t, err, &usage)
		case text == "end":
			require.Equal(t, rouse.Now, to)
		case notNumber == nil:
			require.Equal(t, rouse.Position(n), to)
			require.GreaterOrEqual(t, n, int64(0))
		default:
			again, err := parseReset(string(to))
			require.NoError(t, err)
			require.Equal(t, to, again)
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
