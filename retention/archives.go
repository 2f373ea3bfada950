package retention

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Archive is an archive as the database knows it.
type Archive struct {
	// First and Last are the positions that it holds every event of, and Events how many those are.
	First  int64 `json:"first"`
	Last   int64 `json:"last"`
	Events int64 `json:"events"`

	SHA256 string `json:"sha256"`

	// Path is where the file was written, or its name alone if it went to standard output.
	Path string `json:"path"`

	// RemovedTo is up to where its events are gone from the log; First - 1: all of them are in the log.
	RemovedTo int64 `json:"removed_to"`

	CreatedAt time.Time `json:"created_at"`
}

// Complete reports whether the log has none of its events any more, but for the last of streams.
func (a Archive) Complete() bool { return a.RemovedTo == a.Last }

// name is the name of its file.
func (a Archive) name() string { return Manifest{First: a.First, Last: a.Last}.Name() }

// is reports whether a file is the archive's, by its first line.
func (a Archive) is(m Manifest) bool {
	return m.First == a.First && m.Last == a.Last && m.Count == a.Events && m.SHA256 == a.SHA256
}

// Archives returns the archives that the database knows, the first first.
func Archives(ctx context.Context, pool *pgxpool.Pool) ([]Archive, error) {
	var out []Archive
	err := eachArchive(ctx, pool, sqlArchives, nil, func(a Archive) { out = append(out, a) })
	return out, err
}

// eachArchive calls each with what a query for archives returns. filter, unless it is nil, gets the last column before.
func eachArchive(ctx context.Context, pool *pgxpool.Pool, sql string, filter *filter, each func(a Archive)) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	rows, err := pool.Query(ctx, sql)
	if err != nil {
		return fmt.Errorf("retention: look for archives: %w", err)
	}
	var a Archive
	var sum []byte
	targets := []any{&a.First, &a.Last, &a.Events, &sum, &a.Path, &a.RemovedTo, &a.CreatedAt}
	if filter != nil {
		targets = append(targets, (*[]byte)(filter))
	}
	_, err = pgx.ForEachRow(rows, targets, func() error {
		a.SHA256 = hex.EncodeToString(sum)
		each(a)
		return nil
	})
	if err != nil {
		return fmt.Errorf("retention: look for archives: %w", err)
	}
	return nil
}

// find returns the file of an archive: in dir, where it was written, or half way to its name in one of these.
func (a Archive) find(dir string) (path string, err error) {
	places := []string{filepath.Dir(a.Path)}
	if dir != "" {
		places = append([]string{dir}, places...)
	}
	for _, place := range places {
		candidates := []string{filepath.Join(place, a.name())}
		drafts, _ := filepath.Glob(filepath.Join(place, "."+a.name()+".*.tmp")) // the pattern is good
		for _, candidate := range append(candidates, drafts...) {
			m, err := scan(candidate, nil)
			if err != nil || !a.is(m) {
				continue
			}
			if candidate != candidates[0] {
				return candidates[0], publish(candidate, candidates[0])
			}
			return candidate, nil
		}
	}
	return "", fmt.Errorf("%w: neither %s has %s, with the content that was archived (give the directory that has it)",
		ErrFile, joined(slices.Compact(places)), a.name())
}

func joined(places []string) string {
	var b bytes.Buffer
	for i, place := range places {
		if i > 0 {
			b.WriteString(" nor ")
		}
		b.WriteString(place)
	}
	return b.String()
}

func sortByFirst(manifests []Manifest) {
	slices.SortFunc(manifests, func(a, b Manifest) int {
		switch {
		case a.First < b.First:
			return -1
		case a.First > b.First:
			return 1
		}
		return 0
	})
}
