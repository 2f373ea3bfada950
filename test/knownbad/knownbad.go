// Package knownbad builds the product with faults that it must not have, so that the tests can show that they would notice them.
//
// A fault is a few texts of source files, Go and SQL, and what stands in their place. The build takes the changed files by an
// overlay (go build -overlay), so the product itself has nothing of it. faults.go has them all.
package knownbad

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// change is one place of a fault: in a file, by its path in the product, the text before becomes after. The text must be there
// exactly once. Where before is empty, the file must not be there, and the fault adds it.
type change struct{ file, before, after string }

// Names returns the names of all faults.
func Names() []string {
	names := make([]string, 0, len(faults))
	for _, f := range faults {
		names = append(names, f.name)
	}
	return names
}

// Overlay writes what `go build -overlay` needs to build the product at root with a fault, and returns the flag.
func Overlay(t testing.TB, root, fault string) (flag string) {
	t.Helper()
	files, err := changed(root, fault)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	replace := map[string]string{}
	for name, text := range files {
		to := filepath.Join(folder, strconv.Itoa(len(replace))+filepath.Ext(name))
		replace[filepath.Join(root, filepath.FromSlash(name))] = to
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	return "-overlay=" + file
}

// changed returns the files of a fault as they are with it, by their path in the product.
func changed(root, fault string) (map[string]string, error) {
	files := map[string]string{}
	for _, f := range faults {
		if f.name != fault {
			continue
		}
		for i, c := range f.changes {
			text, err := c.apply(root, files)
			if err != nil {
				return nil, fmt.Errorf("knownbad: change %d of the fault %s does not fit the product any more, adapt test/knownbad/faults.go: %w", i+1, fault, err)
			}
			files[c.file] = text
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("knownbad: there is no fault %s", fault)
	}
	return files, nil
}

// apply returns the file with the change. done has the files that earlier changes of the fault have changed.
func (c change) apply(root string, done map[string]string) (string, error) {
	text, is := done[c.file]
	if !is {
		read, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(c.file)))
		switch {
		case c.before == "" && errors.Is(err, fs.ErrNotExist):
			return c.after, nil
		case err != nil:
			return "", err
		}
		text = string(read)
	}
	if c.before == "" {
		return "", fmt.Errorf("%s, which it adds, is there", c.file)
	}
	if n := strings.Count(text, c.before); n != 1 {
		return "", fmt.Errorf("%s has this text %d times instead of once:\n%s", c.file, n, c.before)
	}
	return strings.Replace(text, c.before, c.after, 1), nil
}
