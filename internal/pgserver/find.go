package pgserver

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// binaries are the programs of one PostgreSQL.
type binaries struct {
	dir   string // holds postgres and initdb
	major int
}

// packageFolders are the places where packages put PostgreSQL without adding it
// to PATH.
var packageFolders = []string{
	"/usr/lib/postgresql/*/bin",                          // Debian, Ubuntu
	"/usr/pgsql-*/bin",                                   // PGDG for Red Hat and relatives
	"/usr/libexec/postgresql*",                           // Alpine
	"/opt/homebrew/opt/postgresql*/bin",                  // Homebrew on Apple silicon
	"/usr/local/opt/postgresql*/bin",                     // Homebrew on Intel
	"/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",     // Homebrew on Linux
	"/opt/local/lib/postgresql*/bin",                     // MacPorts
	"/Applications/Postgres.app/Contents/Versions/*/bin", // Postgres.app
}

// find returns a PostgreSQL that the account can run. What is named explicitly,
// by binDir or in $ROUSE_PG_BIN, must work; the other places are tried in the
// order of Config.BinDir. wantMajor is the version that existing data need, or 0.
func find(ctx context.Context, acc *account, binDir string, wantMajor int) (binaries, error) {
	if binDir == "" {
		binDir = os.Getenv("ROUSE_PG_BIN")
	}
	if binDir == "" {
		return firstUsable(ctx, acc, wantMajor, installed(), fetched)
	}
	found, err := inspect(ctx, acc, binDir, wantMajor)
	if err != nil {
		return binaries{}, fmt.Errorf("pgserver: %w", err)
	}
	return found, nil
}

// firstUsable tries the folders in order, and what fetch returns after them. The
// error says what was wrong with each.
func firstUsable(ctx context.Context, acc *account, wantMajor int, dirs []string, fetch func(context.Context) (string, error)) (binaries, error) {
	var rejected error
	for _, dir := range dirs {
		found, err := inspect(ctx, acc, dir, wantMajor)
		if err == nil {
			return found, nil
		}
		if ctx.Err() != nil {
			return binaries{}, fmt.Errorf("pgserver: looking for PostgreSQL: %w", ctx.Err()) // not its fault
		}
		rejected = also(rejected, err)
	}
	dir, err := fetch(ctx)
	if err == nil {
		var found binaries
		if found, err = inspect(ctx, acc, dir, wantMajor); err == nil {
			return found, nil
		}
	}
	return binaries{}, fmt.Errorf("%w: %w", ErrNoPostgres, also(rejected, err))
}

// also joins two reasons into one sentence.
func also(first, second error) error {
	if first == nil {
		return second
	}
	return fmt.Errorf("%w; %w", first, second)
}

// installed lists the folders to look at, the one on PATH first, then packages,
// the newest version first.
func installed() []string {
	var dirs []string
	if path, err := exec.LookPath("postgres"); err == nil {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	var packaged []string
	for _, pattern := range packageFolders {
		matches, err := filepath.Glob(pattern)
		if err != nil {
			continue // a fault of the pattern; covered by a test
		}
		packaged = append(packaged, matches...)
	}
	slices.SortStableFunc(packaged, func(a, b string) int { return cmp.Compare(folderVersion(b), folderVersion(a)) })
	return append(dirs, packaged...)
}

var digits = regexp.MustCompile(`\d+`)

// folderVersion is the first number in the path, such as 17 in
// /usr/lib/postgresql/17/bin, else 0.
func folderVersion(dir string) int {
	version, err := strconv.Atoi(digits.FindString(dir))
	if err != nil {
		return 0
	}
	return version
}

var versionLine = regexp.MustCompile(`PostgreSQL\) (\d+)`)

// inspect runs postgres --version as the account, which also proves that the
// account can reach and run it.
func inspect(ctx context.Context, acc *account, dir string, wantMajor int) (binaries, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return binaries{}, fmt.Errorf("folder of PostgreSQL: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return binaries{}, fmt.Errorf("%s is not the bin folder of a PostgreSQL server: %w", dir, err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	out, err := acc.command(ctx, filepath.Join(dir, "postgres"), "--version").CombinedOutput()
	if ctx.Err() != nil { // the program was killed for it, which says nothing about the program
		return binaries{}, fmt.Errorf("ask %s for its version: %w", filepath.Join(dir, "postgres"), ctx.Err())
	}
	if err != nil {
		return binaries{}, fmt.Errorf("%s cannot be run (%s): %w; is it in a folder that only root can enter?",
			filepath.Join(dir, "postgres"), strings.TrimSpace(string(out)), err)
	}
	match := versionLine.FindSubmatch(out)
	if match == nil {
		return binaries{}, fmt.Errorf("%s does not tell a version of PostgreSQL", filepath.Join(dir, "postgres"))
	}
	major, err := strconv.Atoi(string(match[1]))
	switch {
	case err != nil:
		return binaries{}, fmt.Errorf("version of PostgreSQL in %s: %w", dir, err)
	case major < minMajor:
		return binaries{}, fmt.Errorf("PostgreSQL %d in %s is too old, %d or later is needed", major, dir, minMajor)
	case wantMajor != 0 && major != wantMajor:
		return binaries{}, fmt.Errorf("the data folder was made by PostgreSQL %d, but %s holds %d", wantMajor, dir, major)
	}
	return binaries{dir: dir, major: major}, nil
}

func (b binaries) postgres() string { return filepath.Join(b.dir, "postgres") }
func (b binaries) initdb() string   { return filepath.Join(b.dir, "initdb") }

// dataMajor reads which major version made the data folder; 0 if it has none.
func dataMajor(dir string) int {
	text, err := os.ReadFile(filepath.Join(dir, "PG_VERSION"))
	if err != nil {
		return 0
	}
	return folderVersion(string(text))
}
