package integration_test

import (
	"archive/zip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/stretchr/testify/require"

	"github.com/rouse-es/rouse/internal/randid"
	"github.com/rouse-es/rouse/internal/workertest"
	"github.com/rouse-es/rouse/test/process"
)

// modulePath is what this module is published as.
const modulePath = "github.com/rouse-es/rouse"

// publish makes a proxy for modules, in a folder, that has this module as it would be published, and returns the environment in which `go`
// gets it from there; all others come from those that are on this machine, or from where they come from here, compiled as those of
// `make build` are. What go keeps of it is removed with the test: its version is of this test alone, for others that run at the same time share the cache of modules.
func publish(t *testing.T, root string) (env []string) {
	t.Helper()
	proxy := t.TempDir()
	folder := filepath.Join(proxy, filepath.FromSlash(modulePath), "@v")
	require.NoError(t, os.MkdirAll(folder, 0o700))
	files := moduleFiles(t, root)
	version := "v0.0.1-x" + randid.Hex(8) // after x no number, so that a version may have it
	write := func(name string, content []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), content, 0o600))
	}
	info, err := json.Marshal(map[string]any{"Version": version, "Time": time.Now().UTC()})
	require.NoError(t, err)
	write("list", []byte(version+"\n"))
	write(version+".info", info)
	write(version+".mod", []byte(readText(t, root, "go.mod")))
	zipModule(t, root, files, filepath.Join(folder, version+".zip"), modulePath+"@"+version+"/")

	cache := goEnv(t, "GOMODCACHE")
	t.Cleanup(func() {
		_ = os.RemoveAll(filepath.Join(cache, filepath.FromSlash(modulePath)+"@"+version))
		kept, _ := filepath.Glob(filepath.Join(cache, "cache", "download", filepath.FromSlash(modulePath), "@v", version+".*"))
		for _, path := range append(kept, filepath.Join(cache, "cache", "download", filepath.FromSlash(modulePath), "@v", "list")) {
			_ = os.Remove(path) // a list is fetched anew
		}
	})
	return append(workertest.Environ(), "CGO_ENABLED=0", "GOFLAGS=-modcacherw -trimpath", "GOWORK=off", "GONOSUMDB="+modulePath,
		"GOPROXY=file://"+filepath.ToSlash(proxy)+",file://"+filepath.ToSlash(cache)+"/cache/download,"+goEnv(t, "GOPROXY"))
}

// moduleFiles returns the files of the module, by their slashed paths in root: without those of modules within it, and what git does not keep.
func moduleFiles(t *testing.T, root string) (files []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		name, _ := filepath.Rel(root, path)
		if entry.IsDir() {
			_, modErr := os.Stat(filepath.Join(path, "go.mod"))
			if modErr == nil || strings.HasPrefix(name, ".") || slices.Contains([]string{"bin", "dist"}, name) {
				return fs.SkipDir
			}
			return nil
		}
		if entry.Type().IsRegular() && !regexp.MustCompile(`\.(test|out)$|^\.`).MatchString(name) {
			files = append(files, filepath.ToSlash(name))
		}
		return nil
	}))
	require.Contains(t, files, "go.mod")
	return files
}

func zipModule(t *testing.T, root string, files []string, path, prefix string) {
	t.Helper()
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	defer func() { require.NoError(t, out.Close()) }()
	z := zip.NewWriter(out)
	for _, name := range files {
		w, err := z.Create(prefix + name)
		require.NoError(t, err)
		_, err = w.Write([]byte(readText(t, root, filepath.FromSlash(name))))
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), readmePatience)
	defer cancel()
	out, err := exec.CommandContext(ctx, "go", "env", name).Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}

func init() { roles["psql"] = playPsql }

// pathWithPsql returns a PATH with a psql: that of the machine, or where it has none, this binary in its place.
func pathWithPsql(t *testing.T) string {
	t.Helper()
	path := os.Getenv("PATH")
	if _, err := exec.LookPath("psql"); err == nil {
		return path
	}
	cmd := process.Command(t, "psql")
	folder := t.TempDir()
	script := "#!/bin/sh\n"
	for _, variable := range cmd.Env {
		if strings.HasPrefix(variable, "ROUSE_TEST_ROLE=") {
			script += variable + " "
		}
	}
	require.NoError(t, os.WriteFile(filepath.Join(folder, "psql"), []byte(script+"exec '"+cmd.Path+"' \"$@\"\n"), 0o700)) //nolint:gosec // it is run
	return folder + string(os.PathListSeparator) + path
}

// playPsql is `psql ADDRESS -c STATEMENT` for a statement whose rows have texts and numbers.
func playPsql() int {
	err := func() error {
		if len(os.Args) != 4 || os.Args[2] != "-c" {
			return errors.New("this psql knows ADDRESS -c STATEMENT only")
		}
		ctx, cancel := context.WithTimeout(context.Background(), readmePatience)
		defer cancel()
		conn, err := pgx.Connect(ctx, os.Args[1])
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(ctx) }()
		results, err := conn.PgConn().Exec(ctx, os.Args[3]).ReadAll()
		if err != nil {
			return err
		}
		for _, r := range results {
			printAligned(r.FieldDescriptions, r.Rows)
		}
		return nil
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// printAligned prints rows as psql does: numbers to the right.
func printAligned(fields []pgconn.FieldDescription, rows [][][]byte) {
	if len(fields) == 0 {
		return
	}
	widths := make([]int, len(fields))
	for i, f := range fields {
		widths[i] = len(f.Name)
		for _, row := range rows {
			widths[i] = max(widths[i], len(row[i]))
		}
	}
	line := func(cell func(i int) string) {
		cells := make([]string, len(fields))
		for i := range fields {
			cells[i] = cell(i)
		}
		fmt.Println(strings.TrimRight(" "+strings.Join(cells, " | "), " "))
	}
	line(func(i int) string {
		left := (widths[i] - len(fields[i].Name)) / 2
		return fmt.Sprintf("%-*s", widths[i], strings.Repeat(" ", left)+fields[i].Name)
	})
	rules := make([]string, len(fields))
	for i := range fields {
		rules[i] = strings.Repeat("-", widths[i]+2)
	}
	fmt.Println(strings.Join(rules, "+"))
	for _, row := range rows {
		line(func(i int) string {
			if fields[i].DataTypeOID == pgtype.Int8OID || fields[i].DataTypeOID == pgtype.Int4OID {
				return fmt.Sprintf("%*s", widths[i], row[i])
			}
			return fmt.Sprintf("%-*s", widths[i], row[i])
		})
	}
	fmt.Printf("(%d rows)\n\n", len(rows))
}
