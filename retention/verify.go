package retention

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Verified is what Verify has found.
type Verified struct {
	// Files is the number of archives that are whole and that the database knows, and Events how many events they hold.
	Files  int   `json:"files"`
	Events int64 `json:"events"`

	// Faults are what is wrong, in sentences. None: with the archives and the log, all of history is there.
	Faults []string `json:"faults"`
}

// Verify reads every archive in dir whole, and compares it with its manifest and with what the database knows; and it looks that all are there
// that the database knows, one behind the other. It changes nothing. An error means that it could not look.
func Verify(ctx context.Context, pool *pgxpool.Pool, dir string) (Verified, error) {
	out := Verified{Faults: []string{}}
	found, err := files(dir)
	if err != nil {
		return out, err
	}
	known, err := Archives(ctx, pool)
	if err != nil {
		return out, err
	}
	for _, f := range found {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		m, err := scan(filepath.Join(dir, f.Name()), nil)
		if err != nil {
			out.fault(err)
			continue
		}
		if m.First != f.First || m.Last != f.Last {
			out.fault(fmt.Errorf("%w: %s holds positions %d to %d (give it back the name %s)", ErrFile, f.Name(), m.First, m.Last, m.Name()))
			continue
		}
		fault := fmt.Errorf("%w: the database knows no archive of positions %d to %d (it is of another log, or of a time that a restore of the database took back)",
			ErrFile, m.First, m.Last)
		for _, a := range known {
			if a.is(m) {
				fault = nil
			} else if a.First == m.First && a.Last == m.Last {
				fault = fmt.Errorf("%w: %s is not the one that was archived: its sha256 is %s, and was %s (put it back from a copy)", ErrFile, f.Name(), m.SHA256, a.SHA256)
			}
		}
		if fault != nil {
			out.fault(fault)
			continue
		}
		out.Files++
		out.Events += m.Count
	}
	next := int64(1)
	for _, a := range known {
		if a.First != next {
			out.fault(fmt.Errorf("the database knows no archive of positions %d to %d", next, a.First-1))
		}
		next = a.Last + 1
		if _, err := os.Stat(filepath.Join(dir, a.name())); errors.Is(err, os.ErrNotExist) {
			out.fault(fmt.Errorf("%s is not there (it was written to %s)", a.name(), a.Path))
		}
	}
	return out, nil
}

func (v *Verified) fault(err error) { v.Faults = append(v.Faults, trimPrefix(err.Error())) }
