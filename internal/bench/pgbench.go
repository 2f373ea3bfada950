package bench

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/rouse-es/rouse/internal/process"
)

// FindPgbench returns the path of pgbench: in $ROUSE_PG_BIN, on PATH, or in one of the usual places of packages. Empty: there
// is none.
func FindPgbench() string {
	if dir := os.Getenv("ROUSE_PG_BIN"); dir != "" {
		if path, err := exec.LookPath(filepath.Join(dir, "pgbench")); err == nil {
			return path
		}
	}
	if path, err := exec.LookPath("pgbench"); err == nil {
		return path
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin/pgbench", "/usr/pgsql-*/bin/pgbench",
		"/opt/homebrew/opt/postgresql*/bin/pgbench", "/usr/local/opt/postgresql*/bin/pgbench",
		"/Applications/Postgres.app/Contents/Versions/latest/bin/pgbench",
	} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return found[len(found)-1]
		}
	}
	return ""
}

// pgbench writes: a program that knows nothing of Rouse.
type pgbench struct {
	path, version, script string
	env                   []string
	seconds               int
}

// newPgbench returns nil if pgbench cannot be told the address.
func (b *Bench) newPgbench(ctx context.Context, path string, length time.Duration, commands []byte) (*pgbench, error) {
	p := &pgbench{path: path, seconds: max(int(length/time.Second), 1)}
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	version, err := exec.CommandContext(ctx, p.path, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("bench: ask %s for its version: %w", p.path, err)
	}
	p.version = strings.TrimSpace(string(version))
	var known bool
	if p.env, known = pgbenchEnv(b.cfg.Connect.ConnConfig, b.schema); !known {
		return nil, nil
	}
	script, err := os.CreateTemp("", "rouse-bench-*.sql")
	if err != nil {
		return nil, err
	}
	p.script = script.Name()
	_, err = script.Write(commands)
	if err = errors.Join(err, script.Close()); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// pgbenchEnv puts the address into the environment, where no other user of the machine sees a password. It knows URLs without
// rare parameters.
func pgbenchEnv(c *pgx.ConnConfig, schema string) (env []string, known bool) {
	u, err := url.Parse(c.ConnString())
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, false
	}
	env = append(os.Environ(), "PGHOST="+c.Host, "PGPORT="+strconv.Itoa(int(c.Port)), "PGUSER="+c.User, "PGPASSWORD="+c.Password,
		"PGDATABASE="+c.Database, "PGAPPNAME=rouse bench pgbench", "PGOPTIONS=-c search_path="+schema)
	for name, values := range u.Query() {
		switch {
		case slices.Contains([]string{"sslmode", "sslrootcert", "sslcert", "sslkey"}, name):
			env = append(env, "PG"+strings.ToUpper(name)+"="+values[0])
		case strings.HasPrefix(name, "pool_"), slices.Contains(ofClient, name):
		default:
			return nil, false
		}
	}
	return env, true
}

// ofClient are parameters of an address that are about the Go client, and change nothing for another one. The password of a passfile is in
// PGPASSWORD by then.
var ofClient = []string{"application_name", "connect_timeout", "default_query_exec_mode", "statement_cache_capacity",
	"description_cache_capacity", "search_path", "passfile"}

func (p *pgbench) name() string { return p.version }

func (p *pgbench) close() error { return os.Remove(p.script) }

var tps = regexp.MustCompile(`tps = ([0-9.]+)`)

func (p *pgbench) write(ctx context.Context, writers, round int) (float64, error) {
	length := p.seconds + writers/16 // connecting takes its part of it, about 40 ms a writer; the rate leaves it out
	runCtx, cancel := context.WithTimeout(ctx, time.Duration(length)*time.Second+statementTimeout)
	defer cancel()
	cmd := exec.CommandContext(runCtx, p.path, "-n", "-M", "prepared", "-f", p.script, "-c", strconv.Itoa(writers), "-j", "2",
		"-T", strconv.Itoa(length), "-D", "v=0", "-D", "round="+strconv.Itoa(round))
	cmd.Env = p.env
	process.OwnGroup(cmd)
	out, err := cmd.CombinedOutput()
	switch m := tps.FindSubmatch(out); {
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case err != nil:
		return 0, fmt.Errorf("bench: pgbench failed with %w: %s", err, complaint(string(out)))
	case m == nil:
		return 0, fmt.Errorf("bench: pgbench printed no rate: %s", complaint(string(out)))
	default:
		return strconv.ParseFloat(string(m[1]), 64)
	}
}

// complaint is where a program says why it failed: in the first line that speaks of an error, else in the last.
func complaint(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for _, line := range lines {
		if strings.Contains(line, "error: ") {
			return line
		}
	}
	return lines[len(lines)-1]
}
