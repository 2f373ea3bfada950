//go:build unix

package pgserver

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// fakePostgres makes a bin folder whose postgres tells the given version, as a
// real program does.
func fakePostgres(t *testing.T, version string) string {
	t.Helper()
	dir := sharedTemp(t)
	program := "#!/bin/sh\necho '" + version + "'\n"
	for _, name := range []string{"postgres", "initdb"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(program), 0o755))
	}
	return dir
}

func TestFirstUsable(t *testing.T) {
	t.Parallel()
	old := fakePostgres(t, "postgres (PostgreSQL) 14.9")
	other := fakePostgres(t, "something (else) 99")
	p16 := fakePostgres(t, "postgres (PostgreSQL) 16.14 (Ubuntu 16.14-1)")
	p18 := fakePostgres(t, "postgres (PostgreSQL) 18beta1")
	clients := sharedTemp(t) // psql without a server
	noFetch := func(context.Context) (string, error) { return "", errors.New("nothing fetched") }
	acc, err := serverAccount("")
	require.NoError(t, err)

	t.Run("TakesTheFirstThatFits", func(t *testing.T) {
		got, err := firstUsable(t.Context(), acc, 0, []string{clients, old, other, p18, p16}, noFetch)
		require.NoError(t, err)
		require.Equal(t, binaries{p18, 18}, got)
	})
	t.Run("TakesTheVersionThatTheDataNeed", func(t *testing.T) {
		got, err := firstUsable(t.Context(), acc, 16, []string{p18, p16}, noFetch)
		require.NoError(t, err)
		require.Equal(t, binaries{p16, 16}, got)
	})
	t.Run("FetchesOnlyIfNothingFits", func(t *testing.T) {
		fetch := func(context.Context) (string, error) { return p18, nil }
		got, err := firstUsable(t.Context(), acc, 0, []string{p16}, fetch)
		require.NoError(t, err)
		require.Equal(t, 16, got.major)
		got, err = firstUsable(t.Context(), acc, 0, []string{old}, fetch)
		require.NoError(t, err)
		require.Equal(t, 18, got.major)
	})
	t.Run("FetchesNothingWhenTheContextEnds", func(t *testing.T) {
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := firstUsable(ended, acc, 0, []string{p16}, func(context.Context) (string, error) {
			t.Error("fetched, although the one that is there fits")
			return p18, nil
		})
		require.ErrorIs(t, err, context.Canceled)
	})
	t.Run("SaysWhatIsWrongWithEach", func(t *testing.T) {
		_, err := firstUsable(t.Context(), acc, 0, []string{old, clients, other}, noFetch)
		require.ErrorIs(t, err, ErrNoPostgres)
		require.ErrorContains(t, err, "PostgreSQL 14 in "+old+" is too old, 15 or later is needed")
		require.ErrorContains(t, err, clients+" is not the bin folder")
		require.ErrorContains(t, err, "does not tell a version")
		require.ErrorContains(t, err, "nothing fetched")
	})
	t.Run("RefusesWhatTheServersUserCannotReach", func(t *testing.T) {
		closed := filepath.Join(t.TempDir(), "closed")
		require.NoError(t, os.Mkdir(closed, 0o700))
		require.NoError(t, os.CopyFS(closed, os.DirFS(p16)))
		require.NoError(t, os.Chmod(filepath.Join(closed, "postgres"), 0o755))
		_, err := firstUsable(t.Context(), acc, 0, []string{closed}, noFetch)
		if os.Geteuid() != 0 {
			require.NoError(t, err, "this user can reach it")
			return
		}
		require.ErrorContains(t, err, "only root can enter")
	})
}

func TestFind(t *testing.T) {
	fake := fakePostgres(t, "postgres (PostgreSQL) 16.14")
	acc, err := serverAccount("")
	require.NoError(t, err)

	t.Run("WhatIsNamedMustWork", func(t *testing.T) {
		_, err := find(t.Context(), acc, "/nowhere/bin", 0)
		require.ErrorContains(t, err, "/nowhere/bin is not the bin folder of a PostgreSQL server")
		t.Setenv("ROUSE_PG_BIN", "/nowhere/else")
		_, err = find(t.Context(), acc, "", 0)
		require.ErrorContains(t, err, "/nowhere/else is not the bin folder of a PostgreSQL server")
		found, err := find(t.Context(), acc, fake, 0)
		require.NoError(t, err, "the configuration beats the environment")
		require.Equal(t, fake, found.dir)
	})
	t.Run("PATHComesBeforePackages", func(t *testing.T) {
		links := t.TempDir()
		require.NoError(t, os.Symlink(filepath.Join(fake, "postgres"), filepath.Join(links, "postgres")))
		t.Setenv("PATH", links)
		require.Equal(t, fake, installed()[0], "the folder behind a link, where initdb is too")
	})
}

func TestPackageFoldersAreSortedByVersion(t *testing.T) {
	t.Parallel()
	for _, pattern := range packageFolders {
		_, err := filepath.Match(pattern, "x")
		require.NoError(t, err, pattern)
	}
	require.Equal(t, 9, folderVersion("/usr/lib/postgresql/9.6/bin"))
	require.Equal(t, 18, folderVersion("/opt/homebrew/opt/postgresql@18/bin"))
	require.Equal(t, 0, folderVersion("/opt/homebrew/opt/postgresql/bin"))
}
