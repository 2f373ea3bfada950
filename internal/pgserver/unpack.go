package pgserver

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// insidePackage is where a bundle has its PostgreSQL; all else is left out.
const insidePackage = "package/native/"

// linksFile lists the symbolic links of the libraries, which npm cannot pack.
const linksFile = "pg-symlinks.json"

// unpack writes the PostgreSQL of a bundle to the new folder dir. Nothing is
// written outside of it, whatever the archive says. Everybody may read the
// result, whatever the umask is.
func unpack(archive []byte, dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.Chmod(".", 0o755); err != nil {
		return err
	}
	zipped, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return err
	}
	files := tar.NewReader(zipped)
	for {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return makeLinks(root)
		}
		if err != nil {
			return err
		}
		name, inside := strings.CutPrefix(path.Clean(header.Name), insidePackage)
		if !inside || header.Typeflag != tar.TypeReg {
			continue
		}
		if err := writeEntry(root, filepath.FromSlash(name), header.FileInfo().Mode(), files); err != nil {
			return err
		}
	}
}

// writeEntry writes one file and the folders above it.
func writeEntry(root *os.Root, name string, mode fs.FileMode, content io.Reader) (err error) {
	if err := makeFolders(root, filepath.Dir(name)); err != nil {
		return err
	}
	permissions := fs.FileMode(0o644)
	if mode&0o111 != 0 || filepath.Dir(name) == "bin" {
		permissions = 0o755
	}
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, permissions)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := io.Copy(file, content); err != nil {
		return err
	}
	return file.Chmod(permissions)
}

func makeFolders(root *os.Root, dir string) error {
	if dir == "." {
		return nil
	}
	if err := makeFolders(root, filepath.Dir(dir)); err != nil {
		return err
	}
	err := root.Mkdir(dir, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return root.Chmod(dir, 0o755)
}

// makeLinks makes the links that the bundle lists, each from target to source in
// the bundle's odd words. A bundle without a list has none.
func makeLinks(root *os.Root) error {
	text, err := root.ReadFile(linksFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(text, &links); err != nil {
		return fmt.Errorf("%s: %w", linksFile, err)
	}
	for _, link := range links {
		source, ok := strings.CutPrefix(link.Source, "native/")
		target, ok2 := strings.CutPrefix(link.Target, "native/")
		if !ok || !ok2 || !filepath.IsLocal(source) || !filepath.IsLocal(target) {
			return fmt.Errorf("%s has a link that leads outside: %s to %s", linksFile, link.Target, link.Source)
		}
		relative, err := filepath.Rel(filepath.Dir(target), source)
		if err != nil {
			return err
		}
		if err := root.Symlink(relative, target); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}
