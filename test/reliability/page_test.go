package reliability_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	// docs is the folder in the checkout.
	docs = "../../docs"
	// soakPage is in the folder docs.
	soakPage = "reliability.md"
)

// pageMu is held by whoever writes the page in the checkout.
var pageMu sync.Mutex

// table is a part of soakPage that is written from what was recorded of runs of one kind, a line each in a file beside it.
type table[R any] struct {
	runs       string // the file, in the folder docs
	begin, end string // the marks between which the part stands in the page
	section    func(runs []R) string
}

// publish adds a run to those that are recorded in the folder docs, and writes its part of the page anew.
func (tb table[R]) publish(docs string, r R) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	path := filepath.Join(docs, tb.runs)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = file.Write(append(line, '\n'))
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	return tb.write(docs)
}

// write writes the part anew.
func (tb table[R]) write(docs string) error {
	pageMu.Lock()
	defer pageMu.Unlock()
	_, now, err := tb.page(docs)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(docs, soakPage), []byte(now), 0o644)
}

// page is what the page is, and what it has to be.
func (tb table[R]) page(docs string) (was, now string, err error) {
	runs, err := tb.recorded(docs)
	if err != nil {
		return "", "", err
	}
	text, err := os.ReadFile(filepath.Join(docs, soakPage))
	if err != nil {
		return "", "", err
	}
	was = string(text)
	before, rest, begins := strings.Cut(was, tb.begin)
	_, after, ends := strings.Cut(rest, tb.end)
	if !begins || !ends {
		return "", "", fmt.Errorf("%s has no %s before a %s", soakPage, tb.begin, tb.end)
	}
	return was, before + tb.begin + "\n" + tb.section(runs) + tb.end + after, nil
}

// recorded are the runs in the folder docs, none if there is no such file.
func (tb table[R]) recorded(docs string) ([]R, error) {
	data, err := os.ReadFile(filepath.Join(docs, tb.runs))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var runs []R
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var r R
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("line %d of %s: %w", len(runs)+1, tb.runs, err)
		}
		runs = append(runs, r)
	}
	return runs, lines.Err()
}

// wantOnPage wants the page to say what the runs say. With -write it writes the page before.
func (tb table[R]) wantOnPage(t *testing.T) {
	t.Helper()
	if *writeFlag {
		require.NoError(t, tb.write(docs))
	}
	pageMu.Lock()
	defer pageMu.Unlock()
	was, now, err := tb.page(docs)
	require.NoError(t, err)
	require.Equal(t, now, was, "run: cd test && go test -run TablesSay ./reliability -write")
}
